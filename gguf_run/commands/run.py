"""`gguf-run MODEL -p PROMPT`: continue a text on stdout."""

from __future__ import annotations

import sys
from itertools import chain
from pathlib import Path
from time import perf_counter
from typing import Any

import click

from gguf_run.commands.chat_options import chat_options, refuse_chat_options
from gguf_run.commands.grammar_options import grammar_options
from gguf_run.commands.help import GroupedCommand
from gguf_run.commands.model_options import ModelChoice, model_options
from gguf_run.commands.opening import describe, open_model
from gguf_run.commands.options import engine_options, verbose_option
from gguf_run.commands.prompt_cache_options import (
    open_prompt_cache,
    prompt_cache_options,
    refuse_prompt_cache,
    save_prompt_cache,
)
from gguf_run.commands.prompts import (
    generation_kwargs,
    given_prompt,
    piped_prompt,
    text_options,
)
from gguf_run.commands.sampling_options import sampling_options
from gguf_run.commands.speeds import speeds
from gguf_run.generation import Generation
from gguf_run.loader import open_gguf


@click.command(cls=GroupedCommand, context_settings={"help_option_names": ["-h", "--help"]})
@model_options
@text_options
@click.option("--no-display-prompt", is_flag=True, help="Write the completion alone.")
@click.option(
    "-cnv/-no-cnv",
    "--conversation/--no-conversation",
    "conversation",
    default=None,
    help="Chat, or continue the text; default: chat at a terminal, if made for it and without -p.",
)
@chat_options
@prompt_cache_options
@engine_options
@sampling_options
@grammar_options
@verbose_option
def run(
    model: ModelChoice,
    verbose: bool,
    **options: Any,
) -> None:
    """Continue a text with a model (the default command).

    The prompt comes from -p, -f or standard input. With neither, at a terminal, a model that is
    made for it chats (see gguf-run chat).
    """
    path = model.fetch()
    if _is_chat(path, options):
        from gguf_run.commands.chat import start_chat

        refuse_prompt_cache(options)
        start_chat(path, verbose, options)
        return
    refuse_chat_options(options)
    text = given_prompt(options)
    if text is None:
        text = piped_prompt(options)
    keywords = generation_kwargs(options)
    start = perf_counter()
    with open_model(path, options) as opened:
        if verbose:
            describe(opened)
        cache = open_prompt_cache(opened, options)
        load_seconds = perf_counter() - start
        generation = opened.generate(text, cache=cache, **keywords)
        try:
            _write(generation, "" if options["no_display_prompt"] else text)
        finally:
            generation.close()
            _report(generation, load_seconds)
        if cache is not None:
            save_prompt_cache(cache, generation, options)


def _is_chat(path: Path, options: dict[str, Any]) -> bool:
    if options["conversation"] is not None:
        return bool(options["conversation"])
    if options["prompt"] is not None or options["prompt_file"] or not sys.stdin.isatty():
        return False
    from gguf_run.chat import has_template

    with open_gguf(path) as file:
        return has_template(file.metadata)


def _write(generation: Generation, prompt: str) -> None:
    out = sys.stdout
    # The prompt comes when it has been evaluated: the bar of a long one would wipe its last line.
    first = next(generation, None)
    out.write(prompt)
    out.flush()
    for chunk in chain(() if first is None else (first,), generation):
        out.write(chunk.text)
        out.flush()


def _report(generation: Generation, load_seconds: float) -> None:
    # The text ends where it ends: in a file, no line's end is added to it.
    click.echo(err=not sys.stdout.isatty())
    click.echo(f"load {load_seconds:.2f} s | {speeds(generation.timings)}", err=True)
