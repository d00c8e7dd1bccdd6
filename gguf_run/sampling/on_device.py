"""What of a chain a device can do by itself: its parameters, its past and its draws to come.

A device draws from the candidates that top-k leaves, or from all where neither top-k nor top-p is
on, in one order of steps (`graph_ops.SAMPLER`). Any other chain is the host's.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from gguf_run.graph_ops import MAX_SAMPLED, SAMPLER
from gguf_run.sampling.candidates import log
from gguf_run.sampling.params import SamplingParams
from gguf_run.sampling.penalties import LogitBias, Penalties
from gguf_run.sampling.rng import Mt19937
from gguf_run.sampling.sampler import Sampler, Selector
from gguf_run.sampling.selectors import Distribution, Greedy
from gguf_run.sampling.temperature import Temperature
from gguf_run.sampling.truncation import MinP, TopK, TopP

ORDER = (LogitBias, Penalties, TopK, TopP, MinP, Temperature)
"""The steps that a device has, in their order."""

MAX_PENALTY = 1e30
"""Of a penalty times a count: beyond that a logit may become no number."""

_OFF = dict(zip(SAMPLER, (1.0, 0.0, 2.0, -np.inf, 1.0, 1.0, 0.0, 0.0), strict=True))


@dataclass(frozen=True, slots=True)
class DeviceSampling:
    """A chain as a device runs it: draws the tokens that the chain would, from the next one on.

    sampler: by `graph_ops.SAMPLER`, what differs from a plain choice of the likeliest token;
    recent: the last `last_n` tokens, or fewer at the beginning, where there are penalties; rng: of
    the next draw, None where nothing is drawn by chance.
    """

    sampler: Mapping[str, float] = field(default_factory=dict)
    bias: Mapping[int, float] = field(default_factory=dict)
    recent: Sequence[int] = ()
    last_n: int = 0
    rng: Mt19937 | None = None

    @property
    def op(self) -> str:
        """The op of the graph that draws: "argmax", "sample" or "sample_all"."""
        if self.rng is not None and "top_k" not in self.sampler:
            return "sample_all"
        return "sample" if self.sampler or self.bias else "argmax"

    def fits(self, n_room: int, limit: int) -> bool:
        """Whether `limit` tokens can be drawn with room for `n_room` recent tokens: enough for all
        that count, or none of them stops to count on the way."""
        return self.last_n <= n_room or len(self.recent) + limit <= self.last_n + 1

    def arrays(self, n_vocab: int, n_room: int, limit: int) -> dict[str, npt.NDArray[np.generic]]:
        """The inputs of the op `sample` for one sequence, and what moves them on for up to `limit`
        tokens.

        Beside the op's own, by name: draws (1, n_room, 2) i32, of which "draw" is the first; recent
        (1, n_room) i32, a ring that begins with the recent tokens; history (1, 3) i32: how many
        tokens went into the ring, how many of them count (0: no penalties), draws done.
        """
        bias = np.zeros((1, n_vocab), np.float32)
        bias[0, list(self.bias)] = list(self.bias.values())
        past = np.array(self.recent, np.int32)
        recent = np.zeros((1, n_room), np.int32)
        recent[0, : len(past)] = past[:n_room]
        draws = np.zeros((1, n_room, 2), np.int32)
        if self.rng is not None:
            n = min(limit, n_room)
            draws[0, :n] = self.rng.clone().raw_pairs(n).view(np.int32)
        row = [{**_OFF, **self.sampler}[name] for name in SAMPLER]
        return {
            "sampler": np.array([row], np.float32),
            "bias": bias,
            "counts": np.bincount(past, minlength=n_vocab).astype(np.int32)[None],
            "draw": draws[:, 0],
            "draws": draws,
            "recent": recent,
            "history": np.array([[len(past), min(self.last_n, n_room + 1), 0]], np.int32),
        }


def device_sampling(
    params: SamplingParams, samplers: Sequence[Sampler], selector: Selector, n_vocab: int
) -> DeviceSampling | None:
    """What a device needs to run a chain of these steps; None where it has not all of them."""
    steps = {type(sampler): sampler for sampler in samplers}
    places = [ORDER.index(step) if step in ORDER else -1 for step in map(type, samplers)]
    if -1 in places or places != sorted(set(places)):
        return None
    bias = params.logit_bias if LogitBias in steps else {}
    penalties = steps.get(Penalties)
    most = max(abs(params.frequency_penalty), abs(params.presence_penalty)) * params.repeat_last_n
    if most > MAX_PENALTY:
        return None
    sampler, recent, last_n = {}, [], 0
    if isinstance(penalties, Penalties):
        sampler = _penalties(params)
        recent, last_n = list(penalties.recent), params.repeat_last_n
    if isinstance(selector, Greedy):
        return DeviceSampling(sampler, bias, recent, last_n)
    truncation = _truncation(params, steps, n_vocab)
    if not isinstance(selector, Distribution) or truncation is None:
        return None
    return DeviceSampling(sampler | truncation, bias, recent, last_n, selector.rng)


def _penalties(p: SamplingParams) -> dict[str, float]:
    return {
        "repeat": p.repeat_penalty,
        "frequency": p.frequency_penalty,
        "presence": p.presence_penalty,
    }


def _truncation(
    p: SamplingParams, steps: Container[type[Sampler]], n_vocab: int
) -> dict[str, float] | None:
    """Top-k and what follows it; None where a device can't do that."""
    found: dict[str, float] = {}
    if TopK in steps:
        found["top_k"] = min(p.top_k, n_vocab)
        found["min_keep"] = min(p.min_keep, MAX_SAMPLED)
        if found["top_k"] > MAX_SAMPLED:
            return None
    elif TopP in steps or (MinP in steps and p.min_keep > 1):
        return None
    if TopP in steps:
        found["top_p"] = p.top_p
    if MinP in steps:
        found["log_min_p"] = float(log(np.array([p.min_p], np.float32))[0])
    if Temperature in steps:
        found["temperature"] = p.temperature
    return found
