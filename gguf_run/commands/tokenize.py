"""`gguf-run tokenize MODEL TEXT`: the tokens of a text."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from gguf_run.commands.options import verbose_option
from gguf_run.tokenizer import Tokenizer

COLOURS = ("cyan", "yellow", "green", "magenta", "white")


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("model", type=click.Path(path_type=Path), required=False)
@click.argument("text", required=False)
@click.option("-m", "--model", "model_option", type=click.Path(path_type=Path), help="The model.")
@click.option("-p", "--prompt", help="The text.")
@click.option("--stdin", "from_stdin", is_flag=True, help="Read the text from standard input.")
@click.option("--ids", is_flag=True, help="Write the ids alone, as a list.")
@click.option("--json", "as_json", is_flag=True, help="Write ids and pieces as JSON.")
@click.option("--no-bos", is_flag=True, help="Add no special tokens.")
@click.option("--no-parse-special", is_flag=True, help="Take special tokens in the text as text.")
@click.option("--show-count", is_flag=True, help="Write the number of tokens at the end.")
@verbose_option
def tokenize(
    model: Path | None,
    text: str | None,
    model_option: Path | None,
    prompt: str | None,
    from_stdin: bool,
    ids: bool,
    as_json: bool,
    no_bos: bool,
    no_parse_special: bool,
    show_count: bool,
    verbose: bool,
) -> None:
    """Show the tokens of a text; MODEL may be a vocabulary alone."""
    if model_option is not None:
        # Then the first argument, if any, is the text.
        text = str(model) if text is None and model is not None else text
        model = model_option
    if model is None:
        raise click.UsageError("expected a model: gguf-run tokenize MODEL TEXT")
    given = [t for t in (text, prompt, sys.stdin.read() if from_stdin else None) if t is not None]
    if len(given) != 1:
        raise click.UsageError(f"expected one text (TEXT, -p or --stdin), found {len(given)}")
    tokenizer = Tokenizer.from_gguf(model)
    found = tokenizer.encode(given[0], add_special=not no_bos, parse_special=not no_parse_special)
    pieces = [tokenizer.token_bytes(token).decode(errors="replace") for token in found]
    if as_json:
        shown = [{"id": i, "piece": p} for i, p in zip(found, pieces, strict=True)]
        click.echo(json.dumps(shown, ensure_ascii=False))
    elif ids:
        click.echo(json.dumps(found))
    else:
        if sys.stdout.isatty():
            click.echo("".join(map(_coloured, range(len(pieces)), pieces)))
        for token, piece in zip(found, pieces, strict=True):
            click.echo(f"{token:>8} -> {piece!r}")
    if show_count:
        click.echo(f"Total number of tokens: {len(found)}", err=as_json)


def _coloured(index: int, piece: str) -> str:
    """A piece in the colour of its turn, so that its neighbours have others."""
    return click.style(piece, bg=COLOURS[index % len(COLOURS)], fg="black")
