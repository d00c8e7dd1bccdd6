"""`gguf-run chat MODEL`: talk with a model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from gguf_run.chat import has_template
from gguf_run.commands.chat_options import chat_options, open_conversation
from gguf_run.commands.chat_session import COMMANDS, ChatSession
from gguf_run.commands.grammar_options import grammar_options
from gguf_run.commands.help import GroupedCommand
from gguf_run.commands.line_input import Lines, PipedLines, TerminalLines
from gguf_run.commands.model_options import ModelChoice, model_options
from gguf_run.commands.opening import describe, open_model
from gguf_run.commands.options import engine_options, verbose_option
from gguf_run.commands.prompts import generation_kwargs, given_prompt, text_options
from gguf_run.commands.sampling_options import sampling_options
from gguf_run.model import Model


@click.command(cls=GroupedCommand, context_settings={"help_option_names": ["-h", "--help"]})
@model_options
@text_options
@chat_options
@engine_options
@sampling_options
@grammar_options
@verbose_option
def chat(
    model: ModelChoice,
    verbose: bool,
    **options: Any,
) -> None:
    """Talk with a model.

    Messages are typed, or read from standard input, one a line; a backslash at the end of a line
    continues it. Commands begin with a slash: /help lists them. Ctrl-C stops an answer.
    """
    start_chat(model.fetch(), verbose, options)


def start_chat(path: Path, verbose: bool, options: dict[str, Any]) -> None:
    """Open a model and chat, by the values of the options that `chat` has."""
    first = given_prompt(options)
    keywords = generation_kwargs(options)
    keywords["reasoning_budget"] = options["reasoning_budget"]
    interactive = sys.stdin.isatty()
    with open_model(path, options) as model:
        if verbose:
            describe(model)
        talk = open_conversation(model, options)
        lines: Lines = TerminalLines(list(COMMANDS)) if interactive else PipedLines(sys.stdin)
        if interactive:
            _greet(model, options)
        ChatSession(talk, lines, keywords, interactive).run(first, options["single_turn"])


def _greet(model: Model, options: dict[str, Any]) -> None:
    click.echo(
        f"{model.hparams.name or 'unnamed'} on {model.device}; /help lists commands", err=True
    )
    chosen = options["chat_template"] or options["chat_template_file"]
    if not chosen and not has_template(model.metadata):
        click.echo(
            f"the file has no chat template; {model.chat_template.name} is used "
            "(--chat-template takes another)",
            err=True,
        )
