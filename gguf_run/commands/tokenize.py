"""`gguf-run tokenize MODEL TEXT`: the tokens of a text."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from gguf_run.commands.model_options import chosen_model, demo_model, named_model_options
from gguf_run.commands.options import verbose_option
from gguf_run.tokenizer import Tokenizer

COLOURS = ("cyan", "yellow", "green", "magenta", "white")


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("words", type=click.Path(), nargs=-1, metavar="[MODEL] [TEXT]")
@named_model_options
@click.option("-p", "--prompt", help="The text.")
@click.option("--stdin", "from_stdin", is_flag=True, help="Read the text from standard input.")
@click.option("--ids", is_flag=True, help="Write the ids alone, as a list.")
@click.option("--json", "as_json", is_flag=True, help="Write ids and pieces as JSON.")
@click.option("--no-bos", is_flag=True, help="Add no special tokens.")
@click.option("--no-parse-special", is_flag=True, help="Take special tokens in the text as text.")
@click.option("--show-count", is_flag=True, help="Write the number of tokens at the end.")
@verbose_option
def tokenize(
    words: tuple[str, ...],
    model_option: Path | None,
    demo: bool,
    hf_repo: str | None,
    hf_file: str | None,
    offline: bool,
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
    paths = [path for path in (model_option, demo_model() if demo else None) if path]
    texts = list(words)
    if texts and not paths and not hf_repo:
        paths.append(Path(texts.pop(0)))
    model = chosen_model(paths, hf_repo, hf_file, offline).fetch()
    given = [t for t in (*texts, prompt, sys.stdin.read() if from_stdin else None) if t is not None]
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
