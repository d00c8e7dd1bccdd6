"""A fused step as its parts one after another, for the shapes that its kernel does not take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gguf_run.cuda.lowering import LOWERINGS, Lowering
from gguf_run.graph import Tensor
from gguf_run.plan import ARENA_ALIGNMENT, Step


def parts_bytes(parts: Sequence[Tensor]) -> int:
    """Workspace for the results between the parts."""
    return sum(map(_aligned_bytes, parts[:-1]))


def launch_parts(low: Lowering, step: Step) -> None:
    """Launch each part by its own wrapper, results between them in the step's workspace."""
    assert step.workspace is not None
    offsets, at = dict(low.offsets), step.workspace
    for part in step.parts[:-1]:
        offsets[part] = at
        at += _aligned_bytes(part)
    inside = replace(low, offsets=offsets)
    for part in step.parts:
        LOWERINGS[part.op](inside, replace(step, op=part.op, parts=(part,), outputs=(part,)))


def _aligned_bytes(t: Tensor) -> int:
    return -(-t.n_bytes // ARENA_ALIGNMENT) * ARENA_ALIGNMENT
