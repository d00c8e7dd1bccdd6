"""The options of the sampler chain: llama.cpp's spellings, defaults from `SamplingParams`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import fields as dataclass_fields
from typing import Any

import click

from gguf_run.commands.options import Command
from gguf_run.errors import ModelError
from gguf_run.sampling import SamplingParams


@dataclass(frozen=True, slots=True)
class SamplingOption:
    """One option: its spellings, the field of `SamplingParams` it sets, what it does."""

    spellings: tuple[str, ...]
    field: str
    help: str


OPTIONS = (
    SamplingOption(("-s", "--seed"), "seed", "Seed of the draws; -1: a random one."),
    SamplingOption(("--temp", "--temperature"), "temperature", "Temperature; 0: greedy."),
    SamplingOption(("--top-k",), "top_k", "Keep the k likeliest; 0: all."),
    SamplingOption(("--top-p",), "top_p", "Keep the likeliest up to this probability; 1: all."),
    SamplingOption(("--min-p",), "min_p", "Keep those of at least this share of the likeliest."),
    SamplingOption(("--typical", "--typical-p"), "typical_p", "Locally typical sampling; 1: off."),
    SamplingOption(
        ("--top-nsigma", "--top-n-sigma"), "top_n_sigma", "Keep logits within n sigma; -1: off."
    ),
    SamplingOption(("--repeat-penalty",), "repeat_penalty", "Penalty of repeated tokens; 1: off."),
    SamplingOption(("--repeat-last-n",), "repeat_last_n", "Tokens it looks back; -1: the context."),
    SamplingOption(("--presence-penalty",), "presence_penalty", "Penalty of tokens seen; 0: off."),
    SamplingOption(("--frequency-penalty",), "frequency_penalty", "Penalty a time seen; 0: off."),
    SamplingOption(("--dry-multiplier",), "dry_multiplier", "DRY: strength; 0: off."),
    SamplingOption(("--dry-base",), "dry_base", "DRY: growth a token of repetition."),
    SamplingOption(("--dry-allowed-length",), "dry_allowed_length", "DRY: repetition left alone."),
    SamplingOption(
        ("--dry-penalty-last-n",), "dry_penalty_last_n", "DRY: tokens looked back; -1: the context."
    ),
    SamplingOption(("--xtc-probability",), "xtc_probability", "XTC: how often; 0: never."),
    SamplingOption(("--xtc-threshold",), "xtc_threshold", "XTC: what counts as likely."),
    SamplingOption(("--dynatemp-range",), "dynatemp_range", "Dynamic temperature: +- range."),
    SamplingOption(("--dynatemp-exp",), "dynatemp_exponent", "Dynamic temperature: exponent."),
    SamplingOption(("--mirostat",), "mirostat", "Mirostat version 1 or 2; 0: off."),
    SamplingOption(("--mirostat-ent",), "mirostat_tau", "Mirostat: target entropy in bits."),
    SamplingOption(("--mirostat-lr",), "mirostat_eta", "Mirostat: learning rate."),
    SamplingOption(("--adaptive-target",), "adaptive_target", "Adaptive-p: target; -1: off."),
    SamplingOption(("--adaptive-decay",), "adaptive_decay", "Adaptive-p: decay."),
)

_LOOK_BACK = ("repeat_last_n", "dry_penalty_last_n")


def sampling_options(command: Command) -> Command:
    """Add all options of the sampler chain to a command."""
    defaults = {field.name: field.default for field in dataclass_fields(SamplingParams)}
    command = click.option(
        "--samplers",
        help="The samplers in their order, separated by ';'.",
    )(command)
    for option in reversed(OPTIONS):
        default = -1 if option.field == "seed" else defaults[option.field]
        text = f"{option.help}  [default: {default}]"
        decorate: Callable[[Command], Command] = click.option(
            *option.spellings,
            option.field,
            type=type(default),
            help=text,
        )
        command = decorate(command)
    return command


def sampling_kwargs(values: dict[str, Any], n_ctx: int) -> dict[str, Any]:
    """Take the sampler's options out of a command's `values` -> keywords of `Model.generate`.

    Options that were not given are left out: the file may have its own defaults.

    Raises `click.UsageError` where a value is out of range.
    """
    given = {option.field: values.pop(option.field) for option in OPTIONS}
    kwargs = {name: value for name, value in given.items() if value is not None}
    for name in _LOOK_BACK:
        if kwargs.get(name) == -1:
            kwargs[name] = n_ctx
    samplers = values.pop("samplers")
    if samplers is not None:
        kwargs["samplers"] = [name for name in samplers.split(";") if name]
    try:
        SamplingParams(**kwargs)
    except ModelError as error:
        raise click.UsageError(str(error)) from None
    return kwargs
