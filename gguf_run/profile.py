"""Where the time of a step goes: seconds, bytes and operations of each step of its plan.

Steps are timed one by one, so their sum is more than the whole takes: in earnest a kernel begins
while the one before it ends. Both are told.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gguf_run.arch import BatchShape
from gguf_run.batch import BatchInputs
from gguf_run.bench import SEED, Workload, model_type
from gguf_run.costs import Cost, Peaks, step_cost
from gguf_run.errors import ModelError
from gguf_run.graph import Kind
from gguf_run.kv_cache import pages_for
from gguf_run.model import Model
from gguf_run.picture import Part, as_svg
from gguf_run.plan import Step

SMALL_SHARE = 0.01
"""Kinds of steps below are one in a picture."""


@dataclass(frozen=True, slots=True)
class Timed:
    """A step, or `count` steps of one kind together: what they are, what they take."""

    op: str
    weights: str
    count: int
    seconds: float
    cost: Cost

    @property
    def name(self) -> str:
        """The op and the weights that it reads, without their layer."""
        return f"{self.op} {self.weights}".rstrip()


@dataclass(frozen=True, slots=True)
class Profile:
    """Every step of a run in order; `whole` seconds are what it takes in earnest."""

    model_type: str
    backend: str
    test: str
    steps: tuple[Timed, ...]
    whole: float
    peaks: Peaks | None

    @property
    def cost(self) -> Cost:
        """Of all steps."""
        return sum((step.cost for step in self.steps), Cost())

    @property
    def kinds(self) -> list[Timed]:
        """Steps of one name together, those that take longest first."""
        names: dict[str, list[Timed]] = {}
        for step in self.steps:
            names.setdefault(step.name, []).append(step)
        return sorted(map(_together, names.values()), key=lambda kind: -kind.seconds)


def profile(model: Model, n_prompt: int = 0, n_depth: int = 0, repetitions: int = 5) -> Profile:
    """Time the steps of one generated token, or of `n_prompt` tokens of a prompt at once, in a
    context that holds `n_depth` tokens before.

    Raises `ModelError` where the context or the model's largest step is too small.
    """
    work, n_tok = Workload(n_prompt, 0 if n_prompt else 1, n_depth), n_prompt or 1
    engine = model.engine
    rooms = (("context", engine.n_ctx, work.n_tok), ("step", engine.n_batch, n_tok))
    for name, room, needed in rooms:
        if needed > room:
            raise ModelError(
                f"{work.name}: expected a {name} of at least {needed} tokens, found {room}; open "
                "the model with a larger one"
            )
    shape = BatchShape(n_tok)
    plan = engine.plan(shape)
    if not n_prompt:
        plan = engine.backend.plan(engine.source.drawing_graph(shape, "argmax"), engine.fuse)
    times = engine.backend.time_steps(plan, _inputs(model, n_tok, n_depth), repetitions)
    steps = tuple(
        Timed(step.op, _weights(step), 1, seconds, step_cost(step, n_depth))
        for step, seconds in zip(plan.steps, times.steps, strict=True)
    )
    peaks = engine.backend.peaks()
    return Profile(model_type(model), model.device, work.name, steps, times.whole, peaks)


def _inputs(model: Model, n_tok: int, n_depth: int) -> dict[str, Any]:
    """The inputs of a batch of random tokens behind `n_depth` evaluated ones."""
    engine = model.engine
    rng = np.random.default_rng(SEED)
    tokens = rng.integers(0, model.hparams.n_vocab, n_depth + n_tok).tolist()
    seq, inputs = engine.new_sequence(), BatchInputs()
    try:
        if n_depth:
            engine.evaluate(seq, tokens[:n_depth])
        inputs.add(seq, tokens[n_depth:], seq.append(tokens[n_depth:]), every_row=False)
        inputs.add_state(seq, n_tok)
        return inputs.arrays(pages_for(engine.n_ctx))
    finally:
        seq.close()


def _weights(step: Step) -> str:
    """The matrices that a step reads, without layers; of a step without any, its vectors."""
    weights = [t for t in step.inputs if t.kind is Kind.WEIGHT]
    matrices = [t for t in weights if len(t.shape) > 1]
    names = (re.sub(r"^blk\.\d+\.|\.weight$", "", t.name) for t in matrices or weights)
    return ", ".join(dict.fromkeys(names))


def _together(steps: list[Timed]) -> Timed:
    first = steps[0]
    seconds, cost = sum(step.seconds for step in steps), sum((s.cost for s in steps), Cost())
    return Timed(first.op, first.weights, sum(step.count for step in steps), seconds, cost)


# Text


def as_text(found: Profile, each: bool = False) -> str:
    """A table: a kind of step a line, or with `each` every step."""
    rows = list(found.steps) if each else found.kinds
    total = _together([Timed("sum of steps", "", 1, s.seconds, s.cost) for s in found.steps])
    whole = Timed("whole", "", 1, found.whole, found.cost)
    head = ["step", "count", "us", "%", "MB", "GB/s", "GFLOP", "TFLOP/s"]
    head += ["of read", "of products"] if found.peaks else []
    lines = [
        _cells(row, total.seconds, found.peaks) for row in [*rows, total] if row.seconds or each
    ]
    lines.append(_cells(whole, None, found.peaks))
    widths = [max(len(line[i]) for line in (head, *lines)) for i in range(len(head))]
    table = "\n".join(
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in (head, *lines)
    )
    return f"{found.model_type}, {found.test}, on {found.backend}\n\n{table}\n\n{_remark(found)}"


def _remark(found: Profile) -> str:
    if found.peaks is None:
        return "Steps are timed one by one."
    return (
        "Steps are timed one by one, with nothing in the caches; whole: all together, as a graph. "
        f"Measured peaks: {found.peaks.read / 1e9:.0f} GB/s read, "
        f"{found.peaks.flops / 1e12:.0f} TFLOP/s."
    )


def _cells(row: Timed, whole: float | None, peaks: Peaks | None) -> list[str]:
    cost, seconds = row.cost, max(row.seconds, 1e-12)
    n_bytes = cost.bytes_read + cost.bytes_written
    cells = [row.name, str(row.count), f"{row.seconds * 1e6:.1f}"]
    cells.append("" if whole is None else f"{100 * row.seconds / max(whole, 1e-12):.1f}")
    cells += [f"{n_bytes / 1e6:.2f}", f"{n_bytes / seconds / 1e9:.1f}"]
    cells += [f"{cost.flops / 1e9:.3f}", f"{cost.flops / seconds / 1e12:.3f}"]
    if peaks is not None:
        cells += [
            f"{n_bytes / seconds / peaks.read:.1%}",
            f"{cost.flops / seconds / peaks.flops:.1%}",
        ]
    return cells


def as_json(found: Profile) -> str:
    """Everything, with each step in order; seconds, bytes, operations."""
    peaks = found.peaks
    return json.dumps(
        {
            "model_type": found.model_type,
            "backend": found.backend,
            "test": found.test,
            "seconds": found.whole,
            "peak_bytes_per_second": peaks.read if peaks else None,
            "peak_flops": peaks.flops if peaks else None,
            "kinds": [_fields(kind) for kind in found.kinds],
            "steps": [_fields(step) for step in found.steps],
        },
        indent=1,
    )


def _fields(row: Timed) -> dict[str, Any]:
    return {
        "op": row.op,
        "weights": row.weights,
        "count": row.count,
        "seconds": row.seconds,
        "bytes_read": row.cost.bytes_read,
        "bytes_written": row.cost.bytes_written,
        "flops": row.cost.flops,
    }


def as_trace(found: Profile) -> str:
    """The steps in order as a trace of Chrome's (chrome://tracing, Perfetto), times in
    microseconds."""
    return json.dumps({"traceEvents": list(_events(found)), "displayTimeUnit": "ns"})


def _events(found: Profile) -> Iterable[dict[str, Any]]:
    title = f"{found.model_type}, {found.test}, on {found.backend}"
    yield {"ph": "M", "name": "process_name", "pid": 0, "tid": 0, "args": {"name": title}}
    start = 0.0
    for index, step in enumerate(found.steps):
        us = step.seconds * 1e6
        args = {"index": index, **_fields(step)}
        if us:
            args["gb_per_s"] = (step.cost.bytes_read + step.cost.bytes_written) / us / 1e3
        yield {
            "ph": "X",
            "name": step.name,
            "cat": step.op,
            "pid": 0,
            "tid": 0,
            "ts": start,
            "dur": us,
            "args": args,
        }
        start += us


def as_picture(found: Profile) -> str:
    """An SVG of the kinds of steps, small ones as one."""
    total = sum(step.seconds for step in found.steps) or 1.0
    kinds = [kind for kind in found.kinds if kind.seconds >= SMALL_SHARE * total]
    small = [kind for kind in found.kinds if kind.seconds < SMALL_SHARE * total]
    parts = [_part(kind, kind.name, found.peaks) for kind in kinds]
    if small:
        parts.append(_part(_together(small), "other steps", found.peaks))
    return as_svg(
        f"Where the time goes: {found.model_type}, {found.test}",
        f"{found.backend}; steps timed one by one: {total * 1e6:.0f} us; "
        f"whole: {found.whole * 1e6:.0f} us",
        parts,
    )


def _part(kind: Timed, name: str, peaks: Peaks | None) -> Part:
    n_bytes, least = kind.cost.bytes_read + kind.cost.bytes_written, None
    if peaks is not None:
        least = max(n_bytes / peaks.read, kind.cost.flops / peaks.flops)
    note = f"{kind.seconds * 1e6:.0f} us, {kind.count} x {kind.seconds / kind.count * 1e6:.1f}"
    return Part(name, kind.seconds, least, f"{note}; {n_bytes / 1e6:.1f} MB")
