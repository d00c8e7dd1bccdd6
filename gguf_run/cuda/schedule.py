"""Which stream each step of a plan runs in, and what it waits for.

Steps keep their order. A step follows one of those that it depends on in that one's stream, or
opens another stream, and waits for the others that it depends on by events. A captured graph then
has the plan's edges (and those between steps that share a stream): independent branches run side
by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MAX_STREAMS = 4
"""Q, K and V beside each other, and a shared expert beside the routed ones, need no more."""


@dataclass(frozen=True, slots=True)
class Placement:
    """The stream of a step, and the earlier steps of other streams that it waits for."""

    stream: int
    waits: tuple[int, ...]


def place(edges: Sequence[Sequence[int]], n_stream: int) -> list[Placement]:
    """`edges[i]` are the steps before i that must have finished when step i starts."""
    placements: list[Placement] = []
    last = [-1] * n_stream
    seen: list[list[int]] = []
    for index, needed in enumerate(edges):
        stream = _choose(needed, last)
        known = list(seen[last[stream]]) if last[stream] >= 0 else [-1] * n_stream
        waits = []
        # The latest first: what it has waited for need not be waited for again.
        for step in sorted(needed, reverse=True):
            other = placements[step].stream
            if known[other] < step:
                waits.append(step)
                known = [max(a, b) for a, b in zip(known, seen[step], strict=True)]
        known[stream] = last[stream] = index
        seen.append(known)
        placements.append(Placement(stream, tuple(sorted(waits))))
    return placements


def _choose(needed: Sequence[int], last: list[int]) -> int:
    """The stream that ends with the latest needed step; else an empty or the longest idle one."""
    for step in sorted(needed, reverse=True):
        if step in last:
            return last.index(step)
    return last.index(min(last))
