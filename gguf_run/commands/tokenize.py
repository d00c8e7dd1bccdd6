"""`gguf-run tokenize MODEL TEXT`: the tokens of a text."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from gguf_run.commands.model_options import chosen_model, demo_model, named_model_options
from gguf_run.commands.options import verbose_option
from gguf_run.commands.texts import read_text
from gguf_run.tokenizer import Tokenizer

COLOURS = ("cyan", "yellow", "green", "magenta", "white")


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("words", type=click.Path(), nargs=-1, metavar="[MODEL] [TEXT]")
@named_model_options
@click.option("-p", "--prompt", help="The text.")
@click.option("-f", "--file", type=click.Path(path_type=Path), help="Read the text from a file.")
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
    file: Path | None,
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
    read = sys.stdin.read() if from_stdin else None
    written = None if file is None else read_text("-f", file)
    given = [text for text in (*texts, prompt, written, read) if text is not None]
    if len(given) != 1:
        raise click.UsageError(f"expected one text (TEXT, -p, -f or --stdin), found {len(given)}")
    tokenizer = Tokenizer.from_gguf(model)
    found = tokenizer.encode(given[0], add_special=not no_bos, parse_special=not no_parse_special)
    pieces = [tokenizer.token_bytes(token) for token in found]
    if as_json:
        shown = [{"id": i, "piece": _as_json(p)} for i, p in zip(found, pieces, strict=True)]
        click.echo(json.dumps(shown, ensure_ascii=False))
    elif ids:
        click.echo(json.dumps(found))
    else:
        if sys.stdout.isatty():
            click.echo("".join(map(_coloured, range(len(pieces)), pieces)))
        for token, piece in zip(found, pieces, strict=True):
            click.echo(f"{token:>8} -> {_text(piece)!r}")
    if show_count:
        click.echo(f"Total number of tokens: {len(found)}", err=as_json)


def _text(piece: bytes) -> str | bytes:
    """A piece as text, if it is one: it may be a part of a character."""
    try:
        return piece.decode()
    except UnicodeDecodeError:
        return piece


def _as_json(piece: bytes) -> str | list[int]:
    """As llama.cpp's server has it: what is no text as a list of bytes."""
    text = _text(piece)
    return text if isinstance(text, str) else list(piece)


def _coloured(index: int, piece: bytes) -> str:
    """A piece in the colour of its turn, so that its neighbours have others."""
    text = piece.decode(errors="replace")
    return click.style(text, bg=COLOURS[index % len(COLOURS)], fg="black")
