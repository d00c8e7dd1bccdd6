"""The parameters of a sampler chain, checked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

from gguf_run.errors import ModelError

#: The samplers of a chain, in llama.cpp's order.
DEFAULT_SAMPLERS = (
    "penalties",
    "dry",
    "top_n_sigma",
    "top_k",
    "typ_p",
    "top_p",
    "min_p",
    "xtc",
    "temperature",
)
SAMPLER_NAMES = (*DEFAULT_SAMPLERS, "adaptive_p")
_ALIASES = {"nucleus": "top_p", "temp": "temperature", "typ": "typ_p", "typical_p": "typ_p"}
_BY_COMPACT_NAME = {name.replace("_", ""): name for name in SAMPLER_NAMES}

MAX_SEED = 2**32 - 1  # llama.cpp's "take a random one", as is -1


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """Names, defaults and meanings are llama.cpp's. A value out of its range raises ModelError.

    samplers: the order of the chain, by name; `top-k`, `topk`, `nucleus`, `temp`, `typ` are
    understood. logit_bias: token id -> what is added to its logit, -inf to rule it out; always
    the first step. seed: 0 to 2^32 - 2, or None, -1 or 2^32 - 1 for a random one. min_keep: the
    least number of candidates that top_p, min_p, typical_p and xtc leave. mirostat 1 or 2
    replaces all of `samplers` by the temperature and mirostat.
    """

    temperature: float = 0.8  # <= 0: greedy
    top_k: int = 40  # <= 0: off
    top_p: float = 0.95  # 1: off
    min_p: float = 0.05  # 0: off
    typical_p: float = 1.0  # 1: off
    top_n_sigma: float = -1.0  # <= 0: off
    min_keep: int = 0
    repeat_penalty: float = 1.0  # 1: off
    repeat_last_n: int = 64  # tokens; 0: no penalties; -1: the whole text
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    dry_multiplier: float = 0.0  # 0: off
    dry_base: float = 1.75  # < 1: off
    dry_allowed_length: int = 2  # tokens
    dry_penalty_last_n: int = 64  # tokens; 0: off; -1: the whole text
    dry_sequence_breakers: Sequence[str] = ("\n", ":", '"', "*")
    xtc_probability: float = 0.0  # 0: off
    xtc_threshold: float = 0.1  # > 0.5: off
    dynatemp_range: float = 0.0  # 0: off
    dynatemp_exponent: float = 1.0
    mirostat: int = 0  # 1, 2: version
    mirostat_tau: float = 5.0  # bits
    mirostat_eta: float = 0.1
    adaptive_target: float = -1.0  # < 0: off
    adaptive_decay: float = 0.9
    seed: int | None = None
    logit_bias: Mapping[int, float] = field(default_factory=lambda: MappingProxyType({}))
    samplers: Sequence[str] = DEFAULT_SAMPLERS

    def __post_init__(self) -> None:
        for name, (low, high) in _RANGES.items():
            _check_number(name, getattr(self, name), low, high)
        for name, least in _LEAST_INTEGERS.items():
            _check_integer(name, getattr(self, name), least)
        if not 1 / _FLOAT_MAX < self.repeat_penalty <= _FLOAT_MAX:
            raise _bad("repeat_penalty", "a finite number above 0", self.repeat_penalty)
        if self.mirostat not in (0, 1, 2):
            raise _bad("mirostat", "0, 1 or 2", self.mirostat)
        if self.seed is not None:
            _check_integer("seed", self.seed, -1)
        for token, bias in self.logit_bias.items():
            if not (bias == -math.inf or -_FLOAT_MAX <= bias <= _FLOAT_MAX):
                raise _bad(f"logit_bias of token {token}", "a finite number or -inf", bias)
        object.__setattr__(self, "samplers", tuple(_sampler_name(s) for s in self.samplers))


_FLOAT_MAX = 3.4028234e38
_ANY = (-_FLOAT_MAX, _FLOAT_MAX)
_RANGES = {
    "temperature": _ANY,
    "top_p": (0.0, 1.0),
    "min_p": (0.0, 1.0),
    "typical_p": (0.0, 1.0),
    "top_n_sigma": _ANY,
    "frequency_penalty": _ANY,
    "presence_penalty": _ANY,
    "dry_multiplier": (0.0, _FLOAT_MAX),
    "dry_base": (0.0, _FLOAT_MAX),
    "xtc_probability": (0.0, 1.0),
    "xtc_threshold": (0.0, 1.0),
    "dynatemp_range": (0.0, _FLOAT_MAX),
    "dynatemp_exponent": _ANY,
    "mirostat_tau": (0.0, _FLOAT_MAX),
    "mirostat_eta": _ANY,
    "adaptive_target": (-_FLOAT_MAX, 1.0),
    "adaptive_decay": (0.0, 0.99),
}
_LEAST_INTEGERS = {
    "top_k": -(2**31),
    "min_keep": 0,
    "repeat_last_n": -1,
    "dry_allowed_length": 0,
    "dry_penalty_last_n": -1,
}


def _bad(name: str, expected: str, found: object) -> ModelError:
    return ModelError(f"sampling parameter {name}: expected {expected}, found {found!r}")


def _check_number(name: str, value: object, low: float, high: float) -> None:
    if isinstance(value, int | float | np.integer | np.floating) and low <= value <= high:
        return
    ends = {-_FLOAT_MAX: "-inf", _FLOAT_MAX: "inf"}
    span = f"{ends.get(low, f'{low:g}')} to {ends.get(high, f'{high:g}')}"
    raise _bad(name, "a finite number" if (low, high) == _ANY else f"a number, {span}", value)


def _check_integer(name: str, value: object, least: int) -> None:
    if not isinstance(value, int | np.integer) or not least <= value <= MAX_SEED:
        raise _bad(name, f"an integer, {least} to {MAX_SEED}", value)


def _sampler_name(given: str) -> str:
    lower = given.strip().lower()
    name = _ALIASES.get(lower) or _BY_COMPACT_NAME.get(lower.replace("-", "").replace("_", ""))
    if name is None:
        raise _bad("samplers", f"names out of {', '.join(SAMPLER_NAMES)}", given)
    return name
