"""How the kernels of a decode step are set up: one table for each generation of GPUs.

`benchmarks/decode_steps.py` times other choices.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from gguf_run.cuda.capabilities import before, since
from gguf_run.cuda.device import Device

BULK, GENERIC = "bulk", "generic"
"""Generations: with bulk copies and dependent launches (sm_90 on), and without."""

AT_ONCE, COPIED, LOADED = range(3)
"""When a kernel lets the one behind it start (kernels/stream_mul_mat.cu, attn_decode.cu)."""


@dataclass(frozen=True, slots=True)
class Stream:
    """A kernel that streams weights.

    A warp multiplies up to `rows` rows at once, which up to `k_split` warps share along n_in.
    `stage_bytes` of shared memory hold weights; of these `in_flight_bytes` are on their way at a
    time: more would only delay the activations. `trigger` says when the kernel behind may start:
    at once, after the last copy, or once the activations are there. `per_sm` blocks share a
    multiprocessor.
    """

    rows: int = 2
    k_split: int = 1
    stage_bytes: int = 96 << 10
    in_flight_bytes: int = 44 << 10
    trigger: int = AT_ONCE
    per_sm: int = 1


SMALL, MEDIUM, LARGE, HUGE = "small", "medium", "large", "huge"
"""Launches whose weights fit the shared memory almost at once, those that nearly do, all others, of
which the longest are huge."""
SIZES: Mapping[str, int] = MappingProxyType({SMALL: 40 << 10, MEDIUM: 120 << 10, LARGE: 300 << 10})
"""Weights a multiprocessor, at most. Of gates and ups 207 KiB measured as large, 391 as huge."""
ANY = "any"
"""In place of a size or a type: all that have no row of their own."""

StreamKey = tuple[str, str, str, str]
"""Generation, kind of product, size, type of the weights."""

STREAMS: Mapping[StreamKey, Stream] = MappingProxyType(
    {
        (BULK, "norm_mul_mats", SMALL, ANY): Stream(k_split=2, trigger=COPIED),
        (BULK, "norm_mul_mats", ANY, ANY): Stream(rows=1, stage_bytes=150 << 10, trigger=LOADED),
        (BULK, "norm_mul_mat", SMALL, ANY): Stream(trigger=LOADED),
        (BULK, "norm_mul_mat", MEDIUM, ANY): Stream(stage_bytes=150 << 10),
        (BULK, "norm_mul_mat", ANY, ANY): Stream(stage_bytes=150 << 10, in_flight_bytes=64 << 10),
        (BULK, "norm_gate_up", SMALL, ANY): Stream(k_split=2, trigger=LOADED),
        (BULK, "norm_gate_up", HUGE, ANY): Stream(k_split=2, stage_bytes=150 << 10, trigger=LOADED),
        (BULK, "norm_gate_up", ANY, ANY): Stream(stage_bytes=150 << 10, trigger=LOADED),
        (BULK, "cast_mul_mat", SMALL, ANY): Stream(trigger=COPIED),
        (BULK, "cast_mul_mat", MEDIUM, "Q8_0"): Stream(
            k_split=4, stage_bytes=72 << 10, trigger=LOADED
        ),
        (BULK, "cast_mul_mat", MEDIUM, ANY): Stream(
            k_split=4, stage_bytes=72 << 10, trigger=COPIED
        ),
        (BULK, "cast_mul_mat", ANY, ANY): Stream(k_split=8, stage_bytes=190 << 10),
        (GENERIC, "norm_mul_mats", ANY, ANY): Stream(per_sm=2),
        (GENERIC, "norm_mul_mat", ANY, ANY): Stream(per_sm=2),
        (GENERIC, "norm_gate_up", ANY, ANY): Stream(per_sm=2),
        (GENERIC, "cast_mul_mat", ANY, ANY): Stream(k_split=4, per_sm=2),
    }
)
"""The row for a launch is that of its size and type, else that of its size, else that of its kind.
BULK: measured on an H200, what names no type with Q4_0 weights."""


@dataclass(frozen=True, slots=True)
class Attention:
    """Attention of one token: beyond two times `least` keys a block has a part of them, `least` or
    more, where there are as many multiprocessors. `trigger` says when the kernel behind may start:
    at once, once the first keys are on their way, or once the queries are there."""

    least: int = 128
    trigger: int = COPIED


ATTENTION: Mapping[str, Attention] = MappingProxyType({BULK: Attention(), GENERIC: Attention()})
"""By generation."""


CAPABILITIES: Mapping[str, frozenset[int]] = MappingProxyType(
    {BULK: since(90), GENERIC: before(90)}
)
"""The compute capabilities of the generations."""


def generation(device: Device) -> str:
    """Which rows of the tables are the device's."""
    return BULK if device.capability >= 90 else GENERIC


def most_rows(generation: str) -> int:
    """The most rows a warp that any row of the table names."""
    return max(choice.rows for key, choice in STREAMS.items() if key[0] == generation)


def stream_key(device: Device, kind: str, dtype: str, n_bytes: int) -> StreamKey:
    """What a launch on `device` is in the table: a kind of product, `n_bytes` of weights."""
    size = next((s for s, most in SIZES.items() if n_bytes <= most * device.n_sm), HUGE)
    return generation(device), kind, size, dtype


def stream(key: StreamKey) -> Stream:
    """The choice for a launch."""
    generation, kind, size, dtype = key
    rows = ((size, dtype), (size, ANY), (ANY, ANY))
    return next(STREAMS[k] for row in rows if (k := (generation, kind, *row)) in STREAMS)


def attention(device: Device) -> Attention:
    """The choice for attention on `device`."""
    return ATTENTION[generation(device)]
