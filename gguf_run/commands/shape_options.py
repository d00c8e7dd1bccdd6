"""A model, or the shape of one with random weights: options of commands that measure and plan."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click

from gguf_run.commands.model_options import ModelChoice, model_options
from gguf_run.commands.options import Command, stack
from gguf_run.loader import GGUFFile, open_gguf
from gguf_run.random_model import random_model

DEFAULT_TYPE = "Q4_0"

_OPTIONS = stack(
    click.option(
        "--shape",
        metavar="NAME",
        help="Instead of a model: the shape of a well-known one, such as qwen3-4b (an unknown name "
        "lists them), with random weights, which need no file.",
    ),
    click.option(
        "--type",
        "weight_type",
        metavar="TYPE",
        help=f"Type of the shape's weights, such as Q4_K_M or BF16; default: {DEFAULT_TYPE}.",
    ),
)

_NAMES = ("model", "model_option", "demo", "hf_repo", "hf_file", "offline")


@dataclass(frozen=True, slots=True)
class Source:
    """The model or shape that a command line names."""

    model: ModelChoice | None
    shape: str
    weight_type: str

    def open(self) -> GGUFFile:
        """The open file, fetched where it comes from the hub; or what a file of the shape would be.

        Raises `ModelError` for an unknown shape or type, or where the file can't be had.
        """
        if self.model is None:
            return random_model(self.shape, self.weight_type)
        return open_gguf(self.model.fetch())


def source_options(command: Command) -> Callable[..., Any]:
    """Add the options; the command gets them as `source`, a `Source`."""

    def with_model(model: ModelChoice, **options: Any) -> Any:
        return command(source=Source(model, "", ""), **options)

    choosing_model = model_options(functools.wraps(command)(with_model))

    @functools.wraps(choosing_model)
    def choosing(shape: str | None, weight_type: str | None, **options: Any) -> Any:
        if shape is None:
            if weight_type is not None:
                raise click.UsageError("--type is of a shape's weights: add --shape NAME")
            return choosing_model(**options)
        if any(options.pop(name) for name in _NAMES):
            raise click.UsageError("expected a model or --shape, found both")
        return command(source=Source(None, shape, weight_type or DEFAULT_TYPE), **options)

    return _OPTIONS(choosing)
