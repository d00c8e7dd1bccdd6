"""Options that several commands share, with llama.cpp's spellings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from gguf_run.backends import DEVICES
from gguf_run.cache_shape import CACHE_TYPES

MAX_CONTEXT = 2**31 - 1
"""Positions are 32-bit integers."""

Command = TypeVar("Command", bound=Callable[..., Any])


def stack(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Several options as one decorator, shown in this order."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


device_option = click.option(
    "--device",
    type=click.Choice(DEVICES),
    default="auto",
    show_default=True,
    help="Where to run; auto: the GPU if there is one.",
)

_CACHE_TYPE = click.Choice(CACHE_TYPES, case_sensitive=False)

cache_type_options = stack(
    click.option("-ctk", "--cache-type-k", type=_CACHE_TYPE, help="Type of the cached keys."),
    click.option("-ctv", "--cache-type-v", type=_CACHE_TYPE, help="Type of the cached values."),
)

no_fuse_option = click.option("--no-fuse", is_flag=True, help="Run every op by itself.")

repetitions_option = click.option(
    "-r",
    "--repetitions",
    type=click.IntRange(1),
    default=5,
    show_default=True,
    help="How often each is measured.",
)

engine_options = stack(
    click.option(
        "-c",
        "--ctx-size",
        "n_ctx",
        type=click.IntRange(0, MAX_CONTEXT),
        default=0,
        show_default=True,
        help="Tokens of context; 0: as the model was trained.",
    ),
    click.option(
        "-b",
        "--batch-size",
        "n_batch",
        type=click.IntRange(1),
        help="The most prompt tokens in one step; default: 2048 on a GPU, 512 on the CPU.",
    ),
    click.option(
        "-ub",
        "--ubatch-size",
        "n_ubatch",
        type=click.IntRange(1),
        help="The same; of both the smaller one counts.",
    ),
    device_option,
    cache_type_options,
    no_fuse_option,
    click.option(
        "--no-graph", is_flag=True, help="Launch kernels one by one, not as a CUDA graph."
    ),
    click.option(
        "--debug-kernels",
        is_flag=True,
        help="Wait after each kernel, so that an error names the one that failed; slow.",
    ),
)

verbose_option = click.option(
    "-v", "--verbose", is_flag=True, help="Say more on stderr; show tracebacks."
)
