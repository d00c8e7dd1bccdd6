"""`gguf-run profile MODEL`: where the time of a token, or of a prompt, goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gguf_run.commands.opening import LoadingBar
from gguf_run.commands.options import (
    cache_type_options,
    device_option,
    no_fuse_option,
    repetitions_option,
    verbose_option,
)
from gguf_run.commands.shape_options import Source, source_options
from gguf_run.model import Model
from gguf_run.profile import Profile, as_json, as_picture, as_text, as_trace
from gguf_run.profile import profile as run_profile

DEPTH_STEP = 512
"""Tokens of a step that fills the context before, unless the prompt's one has more."""

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@source_options
@click.option(
    "-p",
    "--n-prompt",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Profile so many tokens of a prompt in one step; 0: one token that is generated.",
)
@click.option(
    "-d",
    "--n-depth",
    type=click.IntRange(0),
    default=128,
    show_default=True,
    help="Tokens in the context before.",
)
@repetitions_option
@click.option("--all", "each", is_flag=True, help="Show every step, not kinds of steps.")
@click.option("--json", "in_json", is_flag=True, help="Write kinds and steps as JSON.")
@click.option("--trace", type=_FILE, help="Write a trace for chrome://tracing or Perfetto as well.")
@click.option("--svg", type=_FILE, help="Write a picture of where the time goes as well.")
@cache_type_options
@device_option
@no_fuse_option
@verbose_option
def profile(
    source: Source,
    n_prompt: int,
    n_depth: int,
    repetitions: int,
    each: bool,
    in_json: bool,
    trace: Path | None,
    svg: Path | None,
    verbose: bool,
    **options: Any,
) -> None:
    """Show time, bytes and operations of each kind of step that makes a token, or reads a prompt.

    Each step is timed alone, on a GPU with nothing of it in the caches, and the median counts; the
    sum is more than the whole takes, which is shown, too. On a GPU shares of its peaks, measured
    before, are shown.
    """
    bar = LoadingBar()
    with Model(
        source.open(),
        options["device"],
        n_ctx=n_depth + (n_prompt or 1),
        n_batch=max(n_prompt, DEPTH_STEP),
        cache_type_k=options["cache_type_k"],
        cache_type_v=options["cache_type_v"],
        fuse=not options["no_fuse"],
        progress=bar,
    ) as model:
        bar.close()
        found = run_profile(model, n_prompt, n_depth, repetitions)
    click.echo(as_json(found) if in_json else as_text(found, each))
    _write(trace, as_trace, found)
    _write(svg, as_picture, found)


def _write(path: Path | None, shown: Any, found: Profile) -> None:
    if path is None:
        return
    try:
        path.write_text(shown(found), "utf-8")
    except OSError as error:
        raise click.UsageError(
            f"{path}: expected a file to write, found: {error.strerror}"
        ) from None
