"""From a graph to the steps that a backend runs: fuse, order, place in the arena, find hazards.

A fused step is a named op made of parts, so a backend that lacks its kernel (or the reference,
always) runs the parts one after another. Results of ops live in one arena at offsets that are
reused once nobody reads them any more; a step may have a workspace there, too. `Step.edges` are the
earlier steps that must have finished first, found from the bytes that steps read and write.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from math import prod

from gguf_run.fusion import FUSIONS, Accepts, Fusion, Readers, find_readers, fuse, producer
from gguf_run.graph import AttentionParams, Graph, Kind, Tensor

ARENA_ALIGNMENT = 256
"""Bytes; what cudaMalloc guarantees, so that every kernel may use 16-byte loads."""


@dataclass(frozen=True, slots=True)
class Step:
    """One launch, or one NumPy function: `parts` in the order in which they compute."""

    index: int
    op: str
    parts: tuple[Tensor, ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    edges: tuple[int, ...]
    bytes_read: int
    bytes_written: int
    workspace: int | None = None
    """Offset in the arena of the scratch memory that the backend asked for this step."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps in order, and where each op's result lies in the arena (bytes, by base tensor)."""

    steps: tuple[Step, ...]
    offsets: dict[Tensor, int]
    arena_bytes: int
    leaves: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


Workspace = Callable[[str, tuple[Tensor, ...]], int]
"""Bytes of scratch memory that a backend needs while it runs a step (its op and parts)."""


def make_plan(
    graph: Graph,
    fusions: Sequence[Fusion] = FUSIONS,
    workspace: Workspace | None = None,
    accepts: Accepts | None = None,
) -> Plan:
    """Plan `graph`; `fusions=()` runs every op by itself."""
    readers = find_readers(graph)
    kept = {producer(t) for t in graph.outputs}
    groups = fuse(graph, fusions, readers, kept, accepts)
    io = [_inputs_and_outputs(parts, readers, kept) for _, parts in groups]
    scratch = [workspace(op, parts) if workspace else 0 for op, parts in groups]
    places = _place(io, scratch, graph.outputs)
    hazards = _Hazards(places.offsets)
    steps = []
    for index, ((op, parts), (inputs, outputs)) in enumerate(zip(groups, io, strict=True)):
        read = sum(_bytes_read(part, inputs) for part in parts)
        written = sum(_bytes_written(t) for t in outputs)
        at = places.workspaces.get(index)
        edges = hazards.edges(index, inputs, outputs, None if at is None else (at, scratch[index]))
        steps.append(Step(index, op, parts, inputs, outputs, edges, read, written, at))
    outputs_read = tuple(graph.outputs)
    return Plan(tuple(steps), places.offsets, places.arena_bytes, graph.leaves, outputs_read)


def _inputs_and_outputs(
    parts: tuple[Tensor, ...], readers: Readers, kept: set[Tensor]
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """What a group reads from outside (as its parts see it), and which results leave it."""
    inside = set(parts)
    inputs = dict.fromkeys(s for part in parts for s in part.srcs if producer(s) not in inside)
    outputs = tuple(
        part
        for part in parts
        if part is parts[-1] or part in kept or not inside.issuperset(readers[part])
    )
    return tuple(inputs), outputs


# Arena


@dataclass(slots=True)
class _Places:
    """Where results and workspaces lie in the arena."""

    offsets: dict[Tensor, int] = field(default_factory=dict)
    workspaces: dict[int, int] = field(default_factory=dict)
    arena_bytes: int = 0
    _live: list[tuple[int, int, int]] = field(default_factory=list)

    def take(self, n_bytes: int, last_step: int) -> int:
        """The first gap that fits, kept until `last_step` has run."""
        size = -(-n_bytes // ARENA_ALIGNMENT) * ARENA_ALIGNMENT
        offset = 0
        for start, stop, _ in sorted(self._live):
            if start - offset >= size:
                break
            offset = max(offset, stop)
        self._live.append((offset, offset + size, last_step))
        self.arena_bytes = max(self.arena_bytes, offset + size)
        return offset

    def free_before(self, step: int) -> None:
        """Give back what nobody reads from `step` on."""
        self._live = [entry for entry in self._live if entry[2] >= step]


def _place(
    io: Sequence[tuple[tuple[Tensor, ...], tuple[Tensor, ...]]],
    scratch: Sequence[int],
    kept: Iterable[Tensor],
) -> _Places:
    """Results by first fit, each from its step to its last reader; workspaces for their step."""
    last_read: dict[Tensor, int] = {}
    for index, (inputs, outputs) in enumerate(io):
        for t in (*inputs, *outputs):
            last_read[t.base] = index
    last_read.update({t.base: len(io) for t in kept})
    places = _Places()
    for index, (_, outputs) in enumerate(io):
        places.free_before(index)
        for t in outputs:
            if t.base.kind is Kind.OP and t.base not in places.offsets:
                places.offsets[t.base] = places.take(t.base.n_bytes, last_read[t.base])
        if scratch[index]:
            places.workspaces[index] = places.take(scratch[index], index)
    return places


# Hazards


class _Hazards:
    """Remembers which step last touched which bytes, and gives each new step its edges.

    A write that covers an older access replaces it: later steps reach that one through this write.
    """

    def __init__(self, offsets: dict[Tensor, int]) -> None:
        self._offsets = offsets
        self._touched: dict[Tensor | None, list[tuple[int, int, int, bool]]] = defaultdict(list)

    def _range(self, t: Tensor) -> tuple[Tensor | None, int, int]:
        """Memory space (None: the arena; else the leaf itself) and its bytes."""
        base = t.base
        if base.kind is not Kind.OP:
            return base, 0, base.n_bytes
        return None, self._offsets[base], self._offsets[base] + base.n_bytes

    def edges(
        self,
        index: int,
        inputs: Iterable[Tensor],
        outputs: Iterable[Tensor],
        workspace: tuple[int, int] | None,
    ) -> tuple[int, ...]:
        """Steps that must be done first; `workspace` is (offset, bytes) of the step's scratch."""
        accesses = dict.fromkeys((*self._range(t), False) for t in inputs if _is_written(t))
        accesses |= dict.fromkeys((*self._range(t), True) for t in outputs)
        if workspace:
            accesses[None, workspace[0], sum(workspace), True] = None
        found = set()
        for space, start, stop, writes in accesses:
            for lo, hi, step, wrote in self._touched[space]:
                if lo < stop and start < hi and (writes or wrote) and step != index:
                    found.add(step)
        for space, start, stop, writes in accesses:
            kept = self._touched[space]
            if writes:
                kept = [a for a in kept if not (start <= a[0] and a[1] <= stop and a[2] != index)]
            self._touched[space] = [*kept, (start, stop, index, writes)]
        return tuple(sorted(found))


def _is_written(t: Tensor) -> bool:
    """Whether any step may write the bytes of `t` (weights and inputs are only read)."""
    return t.base.kind in (Kind.OP, Kind.CACHE)


# Traffic


def attention_bytes(part: Tensor, n_key: int) -> int:
    """Bytes of `n_key` keys and values as a `flash_attn_ext` reads them; values that are a part of
    the keys cost nothing more."""
    keys, values = part.srcs[1], part.srcs[2]
    apart = (keys,) if values.base is keys.base else (keys, values)
    return sum(n_key * t.n_bytes // (t.shape[0] * t.shape[2]) for t in apart)


def most_keys(part: Tensor) -> int:
    """Keys that a `flash_attn_ext` reads where its sequences fill their tables, or windows."""
    assert isinstance(part.params, AttentionParams)
    (n_seq, n_page), page_size = part.srcs[5].shape, part.srcs[1].shape[2]
    whole, window = n_seq * n_page * page_size, part.params.window
    return min(whole, n_seq * (window - 1) + part.shape[0]) if window else whole


def _bytes_read(part: Tensor, inputs: Iterable[Tensor]) -> int:
    """Least bytes that a part reads from outside its group; attention sees its whole table."""
    outside = set(inputs)
    total = attention_bytes(part, most_keys(part)) if part.op == "flash_attn_ext" else 0
    for i, s in enumerate(part.srcs):
        if s not in outside or (part.op == "flash_attn_ext" and i in (1, 2)):
            continue
        if part.op == "get_rows" and i == 0:
            total += part.shape[0] * s.dtype.row_bytes(s.shape[1])
        elif part.op == "mul_mat_id" and i == 0:
            total += min(s.shape[0], part.srcs[2].n_elements) * s.n_bytes // s.shape[0]
        elif not (part.op == "set_rows" and i == 0):
            total += s.n_bytes
    return total


def _bytes_written(t: Tensor) -> int:
    if t.op == "set_rows":
        rows = t.srcs[1]
        return prod(rows.shape[:-1]) * t.dtype.row_bytes(rows.shape[-1])
    return t.n_bytes


# Text


def format_plan(plan: Plan, kernels: Sequence[int] = ()) -> str:
    """The plan as a table: a step a line, with the `kernels` that it launches where they are known,
    then the totals."""
    counts = [f" {n:>7}" for n in kernels] or [""] * len(plan.steps)
    title = " kernels" if kernels else ""
    lines = [
        f"{'#':>4}  {'op':<20}{title} {'result':<24} {'type':<5} {'read':>12} {'written':>10}"
        f" {'arena':>10}  after  <- sources"
    ]
    for step, count in zip(plan.steps, counts, strict=True):
        out = step.outputs[-1]
        at = plan.offsets.get(out.base)
        lines.append(
            f"{step.index:>4}  {step.op:<20}{count} {out.shape!s:<24} {out.dtype.name:<5}"
            f" {step.bytes_read:>12,} {step.bytes_written:>10,}"
            f" {at if at is not None else '-':>10}  {','.join(map(str, step.edges)) or '-'}"
            f"  <- {', '.join(_source(s) for s in step.inputs)}"
        )
    read = sum(step.bytes_read for step in plan.steps)
    written = sum(step.bytes_written for step in plan.steps)
    lines.append(
        f"{len(plan.steps)} steps, {read:,} bytes read, {written:,} bytes written, "
        f"arena {plan.arena_bytes:,} bytes"
    )
    return "\n".join(lines)


def _source(t: Tensor) -> str:
    made = producer(t)
    dtype = "" if made.kind is Kind.OP else f":{made.dtype.name}"
    return f"{made.name}{dtype}{list(t.shape)}"
