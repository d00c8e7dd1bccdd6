"""How the kernels of a decode step are set up: one table for each generation of GPUs.

`benchmarks/decode_steps.py` times other choices.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from gguf_run.cuda.device import Device

BULK, GENERIC = "bulk", "generic"
"""Generations: with bulk copies and dependent launches (sm_90 on), and without."""


@dataclass(frozen=True, slots=True)
class Stream:
    """A kernel that streams weights.

    A warp multiplies up to `rows` rows at once, which up to `k_split` warps share along n_in.
    `stage_bytes` of shared memory hold weights; of these `in_flight_bytes` are on their way at a
    time: more would only delay the activations. `late_trigger` lets the kernel behind start after
    the last copy, else at once. `per_sm` blocks share a multiprocessor.
    """

    rows: int = 2
    k_split: int = 1
    stage_bytes: int = 96 << 10
    in_flight_bytes: int = 44 << 10
    late_trigger: bool = False
    per_sm: int = 1


STREAMS: Mapping[tuple[str, str], Stream] = MappingProxyType(
    {
        (BULK, "norm_mul_mats"): Stream(),
        (BULK, "norm_mul_mat"): Stream(),
        (BULK, "norm_gate_up"): Stream(),
        (BULK, "cast_mul_mat"): Stream(k_split=4),
        (GENERIC, "norm_mul_mats"): Stream(per_sm=2),
        (GENERIC, "norm_mul_mat"): Stream(per_sm=2),
        (GENERIC, "norm_gate_up"): Stream(per_sm=2),
        (GENERIC, "cast_mul_mat"): Stream(k_split=4, per_sm=2),
    }
)
"""By generation and kind of product."""


@dataclass(frozen=True, slots=True)
class Attention:
    """Attention of one token: up to `brief` keys a block has a query head and all keys; beyond,
    `per_sm` blocks of a multiprocessor share the keys. `late_trigger` lets the kernel behind start
    once the first keys are on their way, else at once."""

    brief: int = 384
    per_sm: int = 2
    late_trigger: bool = True


ATTENTION: Mapping[str, Attention] = MappingProxyType({BULK: Attention(), GENERIC: Attention()})
"""By generation."""


def generation(device: Device) -> str:
    """Which rows of the tables are the device's."""
    return BULK if device.capability >= 90 else GENERIC


def stream(device: Device, kind: str) -> Stream:
    """The choice for a kind of product on `device`."""
    return STREAMS[generation(device), kind]


def attention(device: Device) -> Attention:
    """The choice for attention on `device`."""
    return ATTENTION[generation(device)]
