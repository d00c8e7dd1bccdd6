"""What text to begin with, and how the model goes on: options that `run` and `chat` share."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from gguf_run.commands.grammar_options import grammar_kwargs
from gguf_run.commands.options import stack
from gguf_run.commands.sampling_options import sampling_kwargs
from gguf_run.commands.texts import read_text, unescape

text_options = stack(
    click.option("-p", "--prompt", help="The text to continue; of a chat, the first message."),
    click.option(
        "-f", "--file", "prompt_file", type=click.Path(path_type=Path), help="Read it from a file."
    ),
    click.option(
        "-n",
        "--n-predict",
        "--predict",
        "n_predict",
        type=int,
        default=-1,
        show_default=True,
        help="Tokens to write; -1: until the model ends or the context is full.",
    ),
    click.option(
        "-r",
        "--stop",
        "--reverse-prompt",
        "stop",
        multiple=True,
        help="End before this text; may be given again.",
    ),
    click.option("--ignore-eos", is_flag=True, help="Go on where the model would end."),
    click.option(
        "-e/",
        "--escape/--no-escape",
        "escape",
        default=True,
        help=r"Replace \n, \t, ... in the prompt, or take them as they stand.",
    ),
)


def generation_kwargs(options: dict[str, Any]) -> dict[str, Any]:
    """Keywords of `Model.generate` and `Model.chat`, by the values of a command's options.

    Raises `click.UsageError` where a value is out of range.
    """
    sampling = sampling_kwargs(options)
    return {
        "max_tokens": None if options["n_predict"] < 0 else options["n_predict"],
        "stop": [_unescaped(text, options) for text in options["stop"]],
        "ignore_eos": options["ignore_eos"],
        **sampling,
        **grammar_kwargs(options),
    }


def given_prompt(options: dict[str, Any]) -> str | None:
    """The prompt of -p or -f, if there is one.

    Raises `click.UsageError` where both are there, or the file is not.
    """
    text, file = options["prompt"], options["prompt_file"]
    if text is not None and file is not None:
        raise click.UsageError("expected one prompt, found both -p and -f")
    if file is not None:
        text = read_text("-f", file).removesuffix("\n")
    return None if text is None else _unescaped(text, options)


def piped_prompt(options: dict[str, Any]) -> str:
    """The prompt of standard input; `click.UsageError` where that is a terminal."""
    if sys.stdin.isatty():
        raise click.UsageError("expected a prompt: -p TEXT, -f FILE or standard input")
    return _unescaped(sys.stdin.read().removesuffix("\n"), options)


def _unescaped(text: str, options: dict[str, Any]) -> str:
    return unescape(text) if options["escape"] else text
