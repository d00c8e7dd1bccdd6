"""What a step must move and compute at least: bytes and floating-point operations.

Counted are products and attention, a multiply-add as two operations; all else is small beside them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gguf_run.graph import AttentionParams, Tensor
from gguf_run.plan import Step, attention_bytes, most_keys

PRODUCTS = ("mul_mat", "mul_mat_id", "mul_mat_batched")


@dataclass(frozen=True, slots=True)
class Cost:
    """Bytes read and written, and operations."""

    bytes_read: int = 0
    bytes_written: int = 0
    flops: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.bytes_read + other.bytes_read,
            self.bytes_written + other.bytes_written,
            self.flops + other.flops,
        )


@dataclass(frozen=True, slots=True)
class Peaks:
    """What a device gives at most: bytes a second from its memory, operations a second in products.

    Products are `mma.sync` of half floats with f32 sums, which every GPU from Turing on has;
    instructions of one generation alone (Hopper's wgmma) reach beyond.
    """

    read: float
    flops: float


@dataclass(frozen=True, slots=True)
class StepTimes:
    """Seconds of each step of a plan by itself, and of all in one run."""

    steps: tuple[float, ...]
    whole: float


def total_cost(steps: Iterable[Step], n_past: int) -> Cost:
    """Of all steps of a batch of one sequence, whose cache holds `n_past` tokens before it."""
    return sum((step_cost(step, n_past) for step in steps), Cost())


def step_cost(step: Step, n_past: int) -> Cost:
    """Of one step of a batch of one sequence with `n_past` tokens in the cache before it."""
    read, flops = step.bytes_read, 0
    for part in step.parts:
        if part.op in PRODUCTS:
            flops += 2 * part.n_elements * part.srcs[1].shape[-1]
        elif part.op == "flash_attn_ext":
            # The plan, made for any length, counts what a full context takes.
            seen, n_key = _keys(part, n_past)
            read += attention_bytes(part, n_key) - attention_bytes(part, most_keys(part))
            n_head, d_k, d_v = part.shape[1], part.srcs[0].shape[2], part.shape[2]
            flops += 2 * seen * n_head * (d_k + d_v)
    return Cost(read, step.bytes_written, flops)


def _keys(part: Tensor, n_past: int) -> tuple[int, int]:
    """Keys that the tokens of a batch see, summed over tokens, and how many keys these are."""
    assert isinstance(part.params, AttentionParams)
    n_tok, window = part.shape[0], part.params.window or n_past + part.shape[0]
    # Token t sees n_past + t + 1 keys, until these fill the window.
    n_growing = min(n_tok, max(0, window - n_past))
    seen = n_growing * n_past + n_growing * (n_growing + 1) // 2 + (n_tok - n_growing) * window
    return seen, min(n_past + n_tok, window - 1 + n_tok)
