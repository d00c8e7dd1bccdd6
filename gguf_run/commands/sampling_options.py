"""The options of the sampler chain: llama.cpp's spellings, defaults from `SamplingParams`."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from dataclasses import fields as dataclass_fields
from typing import Any

import click

from gguf_run.commands.options import Command, stack
from gguf_run.commands.texts import unescape
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

SEQUENCE = {
    "e": "penalties",
    "d": "dry",
    "s": "top_n_sigma",
    "k": "top_k",
    "y": "typ_p",
    "p": "top_p",
    "m": "min_p",
    "x": "xtc",
    "t": "temperature",
    "a": "adaptive_p",
}
"""The samplers by llama.cpp's letters."""

_BIAS = re.compile(r"(\d+)([+-].+)")

_LISTS = stack(
    click.option("--samplers", help="The samplers in their order, separated by ';'."),
    click.option(
        "--sampler-seq",
        "--sampling-seq",
        "sampler_seq",
        help=f"The same by their letters: {', '.join(f'{k} {v}' for k, v in SEQUENCE.items())}.",
    ),
    click.option(
        "-l",
        "--logit-bias",
        "logit_bias",
        multiple=True,
        metavar="TOKEN_ID(+/-)BIAS",
        help="Make a token likelier, as 15043+1, or less so; -inf: never. May be given again.",
    ),
    click.option(
        "--dry-sequence-breaker",
        "dry_sequence_breaker",
        multiple=True,
        help='DRY: repetition ends here, in place of \\n, :, " and *; none: nowhere. May be given '
        "again.",
    ),
)
LISTS = ("samplers", "sampler_seq", "logit_bias", "dry_sequence_breaker")
"""Names of the options of several values."""


def sampling_options(command: Command) -> Command:
    """Add all options of the sampler chain to a command."""
    defaults = {field.name: field.default for field in dataclass_fields(SamplingParams)}
    command = _LISTS(command)
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


def sampling_kwargs(values: dict[str, Any]) -> dict[str, Any]:
    """Take the sampler's options out of a command's `values` -> keywords of `Model.generate`.

    Options that were not given are left out: the file may have its own defaults.

    Raises `click.UsageError` where a value is out of range.
    """
    given = {option.field: values.pop(option.field) for option in OPTIONS}
    lists = {
        "samplers": _samplers(values.pop("samplers"), values.pop("sampler_seq")),
        "logit_bias": _biases(values.pop("logit_bias")),
        "dry_sequence_breakers": _breakers(values.pop("dry_sequence_breaker"), values["escape"]),
    }
    kwargs = {name: value for name, value in (given | lists).items() if value is not None}
    try:
        SamplingParams(**kwargs)
    except ModelError as error:
        raise click.UsageError(str(error)) from None
    return kwargs


def _samplers(names: str | None, letters: str | None) -> list[str] | None:
    if names is not None and letters is not None:
        raise click.UsageError("expected one order, found both --samplers and --sampler-seq")
    if letters is None:
        return None if names is None else [name for name in names.split(";") if name.strip()]
    unknown = [letter for letter in letters if letter not in SEQUENCE]
    if unknown:
        raise click.UsageError(
            f"--sampler-seq: expected letters of {''.join(SEQUENCE)}, found {unknown[0]!r}"
        )
    return [SEQUENCE[letter] for letter in letters]


def _biases(given: Sequence[str]) -> dict[int, float] | None:
    """Token -> what all biases of it make together, as in llama.cpp."""
    biases: dict[int, float] = {}
    for text in given:
        found = _BIAS.fullmatch(text.strip())
        try:
            token, bias = (int(found[1]), float(found[2])) if found else (0, math.nan)
        except ValueError:
            bias = math.nan
        if math.isnan(bias):
            raise click.UsageError(
                f"--logit-bias: expected a token's id and a bias, such as 15043+1 or 15043-inf, "
                f"found {text!r}; gguf-run tokenize shows ids"
            )
        biases[token] = biases.get(token, 0.0) + bias
    return biases or None


def _breakers(given: Sequence[str], escape: bool) -> list[str] | None:
    """Those after the last "none", as in llama.cpp."""
    if not given:
        return None
    start = max((i + 1 for i, text in enumerate(given) if text == "none"), default=0)
    return [unescape(text) if escape else text for text in given[start:]]
