"""`gguf-run embed MODEL TEXT...`: embeddings of texts, as JSON."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from gguf_run.commands.model_options import ModelChoice, model_options
from gguf_run.commands.opening import describe, open_model
from gguf_run.commands.options import engine_options, verbose_option
from gguf_run.embedding import POOLINGS


def _model_first(command: Callable[..., Any]) -> Callable[..., Any]:
    """Where an option names the model, the first argument is a text."""

    @functools.wraps(command)
    def shifted(model: Path | None, texts: tuple[str, ...], **options: Any) -> Any:
        if model is not None and any(options[n] for n in ("model_option", "demo", "hf_repo")):
            model, texts = None, (str(model), *texts)
        return command(model=model, texts=texts, **options)

    return shifted


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@_model_first
@model_options
@click.argument("texts", nargs=-1)
@click.option(
    "--pooling",
    type=click.Choice(POOLINGS),
    help="Which tokens make a text's embedding; default: what the file says, else the mean.",
)
@click.option("--no-normalize", is_flag=True, help="Leave their lengths as they are.")
@engine_options
@verbose_option
def embed(
    model: ModelChoice,
    texts: tuple[str, ...],
    pooling: str | None,
    no_normalize: bool,
    verbose: bool,
    **options: Any,
) -> None:
    """Write embeddings of texts, a JSON array a line; with --pooling none a line for each token.

    Texts that are no arguments are the lines of standard input.
    """
    if not texts:
        if sys.stdin.isatty():
            raise click.UsageError(
                "expected a text: gguf-run embed MODEL TEXT..., or lines by pipe"
            )
        texts = tuple(line for line in sys.stdin.read().split("\n") if line)
    with open_model(model.fetch(), options) as opened:
        if verbose:
            describe(opened)
        for row in opened.embed(texts, pooling, normalize=not no_normalize):
            # The shortest decimals that are this float32.
            click.echo(json.dumps([float(str(x)) for x in row]))
