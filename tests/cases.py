"""Cases of the ops: small graphs with seeded data, run on the reference and on a CUDA device.

A family's cases stand in `op_cases/<family>.py` as `CASES`:

    def rms_norm(n_row: int, n_col: int) -> Build:
        def build(g: Graph) -> Tensor:
            return g.rms_norm(g.input("x", (n_row, n_col), F32), eps=1e-5)
        return build

    CASES = [Case(f"rms_norm {n_row}x{n_col}", rms_norm(n_row, n_col)) for ...]

Leaves get normally distributed values (weights with a spread of n_in^-1/2); `data` names other
draws, and must name one for each i32 input. Every result of `build` and every cache that an op
writes is compared. `run_case` says all that is checked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt
from case_data import Draw, cast_back, stored

from gguf_run.cuda.backend import CudaBackend
from gguf_run.cuda.device import Buffer, Device
from gguf_run.cuda.executable import BoundStep, CudaExecutable
from gguf_run.cuda.staging import host_array
from gguf_run.cuda.weights import activations_as_products_take_them
from gguf_run.graph import (
    F16_PAIR,
    F16_SCALED,
    F16_TILES,
    I32,
    Q8_1,
    Q16_1,
    VIEW_OPS,
    Graph,
    Kind,
    Tensor,
)
from gguf_run.loader import GGUFFile, open_gguf
from gguf_run.plan import Plan
from gguf_run.reference_backend import ReferenceBackend

Array = npt.NDArray[Any]
Build = Callable[[Graph], "Tensor | Sequence[Tensor]"]

ROUNDING = {Q8_1: 5e-4, Q16_1: 1e-7, F16_SCALED: 1e-6, F16_TILES: 1e-6, F16_PAIR: 1e-10}
"""NMSE against the graph as it was built, where products round their activations first, by the form
to which they are cast."""


@dataclass(frozen=True, slots=True)
class Case:
    """A small graph and its data.

    `tolerance` bounds the NMSE against the reference on the very graph that the device runs, casts
    of activations included; integers must be equal.
    """

    name: str
    build: Build
    data: Mapping[str, Draw] = field(default_factory=dict)
    tolerance: float = 1e-7
    seed: int = 0

    def __str__(self) -> str:
        return self.name

    def graph(self) -> Graph:
        """The graph; its outputs are what `build` returns and the caches after their last write."""
        g = Graph()
        results = self.build(g)
        for t in (results,) if isinstance(results, Tensor) else results:
            g.output(t)
        written = {t.base: t for t in g.tensors if t.op == "set_rows"}
        for t in written.values():
            if t not in g.outputs:
                g.output(t)
        return g

    def leaves(self, g: Graph) -> dict[Tensor, Array]:
        """The stored bytes of every leaf."""
        unknown = set(self.data) - {t.name for t in g.leaves}
        assert not unknown, f"{self}: data for leaves that the graph lacks: {unknown}"
        return {
            t: stored(
                np.random.default_rng([self.seed, *t.name.encode()]), t, self.data.get(t.name)
            )
            for t in g.leaves
        }


def nmse(found: Array, expected: Array) -> float:
    """Mean squared error over mean square of `expected`; infinite where finiteness differs."""
    a, b = found.astype(np.float64), expected.astype(np.float64)
    if not np.array_equal(np.isfinite(a), np.isfinite(b)):
        return float("inf")
    finite = np.isfinite(b)
    a, b = a[finite], b[finite]
    error, size = float(np.sum((a - b) ** 2)), float(np.sum(b**2))
    return error / size if size else float("inf" if error else 0)


def run_case(case: Case, device: Device, folder: Path, fuse: bool) -> None:
    """Run `case` on both backends and assert that

    - every result agrees with the reference's within the tolerance, on the graph with its
      activations cast as the device's products take them, and within `ROUNDING` without;
    - every step writes its results and its workspace and nothing else;
    - whatever the arena held before, a run by a captured graph gives the same bits.
    """
    g = case.graph()
    data = case.leaves(g)
    with _file(data, folder / "case.gguf") as file:
        found = _on_device(case, g, data, file, device, fuse)
        cast = activations_as_products_take_them(g, device.capability)
        _compare(case, found, _on_reference(cast, data, file), cast, case.tolerance)
        if cast is not g:
            rounding = max(ROUNDING.get(t.dtype, 0) for t in cast.tensors)
            tolerance = max(case.tolerance, rounding)
            _compare(case, found, _on_reference(g, data, file), g, tolerance)


def _file(data: Mapping[Tensor, Array], path: Path) -> GGUFFile:
    """A model file that holds the weights."""
    writer = gguf.GGUFWriter(path, "llama")
    for t, array in data.items():
        if t.kind is Kind.WEIGHT:
            writer.add_tensor(t.name, array, raw_dtype=gguf.GGMLQuantizationType(t.dtype.id))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return open_gguf(path)


def _of_kind(data: Mapping[Tensor, Array], kind: Kind) -> dict[str, Array]:
    return {t.name: array for t, array in data.items() if t.kind is kind}


def _on_reference(g: Graph, data: Mapping[Tensor, Array], file: GGUFFile) -> list[Array]:
    backend = ReferenceBackend(file)
    executable = backend.prepare(backend.plan(g, fuse=False))
    for name, content in _of_kind(data, Kind.CACHE).items():
        if name in backend.caches:
            backend.caches[name][...] = content
    executable(_of_kind(data, Kind.INPUT))
    return executable.outputs


def _on_device(
    case: Case,
    g: Graph,
    data: Mapping[Tensor, Array],
    file: GGUFFile,
    device: Device,
    fuse: bool,
) -> list[Array]:
    backend = CudaBackend(file, device)
    plan = backend.plan(g, fuse)
    executable = backend.prepare(plan)
    results = []
    for poison in (0xFF, 0x5A):
        for name, content in _of_kind(data, Kind.CACHE).items():
            device.upload(backend.caches[name], content)
        device.fill(executable.arena, poison)
        inputs = _of_kind(data, Kind.INPUT)
        if poison == 0xFF:
            executable.load(inputs)
            _run_guarded(executable, plan)
        else:
            executable.capture()
            executable(inputs)
        results.append([_read(device, at, t) for t, at in executable.outputs])
    for t, first, second in zip(plan.outputs, *results, strict=True):
        same = first.tobytes() == second.tobytes()
        assert same, f"{case}: {t}: two runs differ; something reads what no step has written"
    return results[0]


def _run_guarded(executable: CudaExecutable, plan: Plan) -> None:
    """Run step by step; each may change its results and its workspace, and nothing else."""
    device, arena = executable.device, executable.arena
    for bound in executable.steps:
        before = device.download(arena, np.uint8, (arena.n_bytes,))
        executable.launch(bound)
        after = device.download(arena, np.uint8, (arena.n_bytes,))
        kept = np.ones(arena.n_bytes, bool)
        for start, stop in _written(bound, plan):
            kept[start:stop] = False
        changed = np.flatnonzero(kept & (before != after))
        assert not changed.size, (
            f"{bound}: wrote {changed.size} bytes outside its results, from {changed[0]} on; "
            f"its results: {_written(bound, plan)}"
        )


def _written(bound: BoundStep, plan: Plan) -> list[tuple[int, int]]:
    """Ranges of the arena that a step may write."""
    bases = [t.base for t in bound.step.outputs if t.base.kind is Kind.OP]
    ranges = [(plan.offsets[t], plan.offsets[t] + t.n_bytes) for t in bases]
    if bound.step.workspace is not None:
        ranges.append((bound.step.workspace, bound.step.workspace + bound.workspace_bytes))
    return ranges


def _read(device: Device, at: Buffer, t: Tensor) -> Array:
    """A result as the reference's arrays hold it."""
    assert t.is_contiguous, f"{t}: results of a case have no gaps"
    return host_array(device.download(at, np.uint8, (t.n_bytes,)), t)


def _compare(
    case: Case, found: Sequence[Array], expected: Sequence[Array], g: Graph, tolerance: float
) -> None:
    for t, a, b in zip(g.outputs, found, expected, strict=True):
        if t.dtype is I32:
            assert np.array_equal(a, b), f"{case}: {t}: expected {b}, found {a}"
            continue
        error = nmse(_numbers(a, t), _numbers(b, t))
        assert error <= tolerance, f"{case}: {t}: NMSE {error:.3g}, at most {tolerance:g} allowed"


def _numbers(array: Array, t: Tensor) -> Array:
    """A result as floating-point numbers."""
    if array.dtype != np.uint8:
        return array
    if t.dtype in (Q8_1, Q16_1):
        return cast_back(array, t.shape[-1])
    return t.dtype.decode(array.reshape(-1))


def ops_of(case: Case) -> set[str]:
    """The ops that a case's graph contains, view ops left out."""
    return {t.op for t in case.graph().tensors} - set(VIEW_OPS)
