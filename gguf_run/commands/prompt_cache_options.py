"""Options that keep what was computed of a prompt in a file, with llama.cpp's spellings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gguf_run.commands.options import stack

if TYPE_CHECKING:
    from gguf_run.generation import Generation
    from gguf_run.model import Model
    from gguf_run.prompt_cache import PromptCache

prompt_cache_options = stack(
    click.option(
        "--prompt-cache",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Keep what is computed of the prompt in this file, and go on from what is there.",
    ),
    click.option("--prompt-cache-all", is_flag=True, help="Keep the text behind the prompt, too."),
    click.option("--prompt-cache-ro", is_flag=True, help="Leave the file as it is."),
)


def refuse_prompt_cache(options: dict[str, Any]) -> None:
    """`click.UsageError` where a chat is asked for a prompt's cache."""
    if options["prompt_cache"] is not None:
        raise click.UsageError(
            "--prompt-cache is for a text: add -no-cnv; a chat has /save --cache"
        )


def open_prompt_cache(model: Model, options: dict[str, Any]) -> PromptCache | None:
    """The cache of --prompt-cache, with what its file holds; None without that option.

    Raises `ModelError` where the file is damaged or of another model, `click.UsageError` where it
    can't be read.
    """
    path: Path | None = options["prompt_cache"]
    if path is None:
        return None
    cache = model.prompt_cache()
    try:
        cache.load(path)
    except FileNotFoundError:
        if options["prompt_cache_ro"]:
            raise click.UsageError(f"--prompt-cache {path}: expected a file to read") from None
    except OSError as error:
        raise click.UsageError(f"--prompt-cache {path}: {error.strerror}") from None
    return cache


def save_prompt_cache(cache: PromptCache, generation: Generation, options: dict[str, Any]) -> None:
    """Write the cache to its file, as the options say.

    Raises `click.UsageError` where that can't be.
    """
    path: Path = options["prompt_cache"]
    if options["prompt_cache_ro"]:
        return
    if not options["prompt_cache_all"]:
        cache.cut(generation.timings.n_prompt)
    try:
        cache.save(path)
    except OSError as error:
        raise click.UsageError(f"--prompt-cache {path}: {error.strerror}") from None
