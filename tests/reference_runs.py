"""Graphs run by the reference, on arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from gguf_run.graph import (
    F32,
    GLU_OPS,
    Graph,
    Tensor,
)
from gguf_run.plan import make_plan
from gguf_run.reference_backend import ReferenceBackend

Array = npt.NDArray[Any]
rng = np.random.default_rng(7)


class Files:
    """Weights from memory, where a backend expects an open file."""

    def __init__(self, **arrays: Array) -> None:
        self._arrays = arrays

    def data(self, name: str) -> Array:
        return np.ascontiguousarray(self._arrays[name]).reshape(-1).view(np.uint8)


def run(g: Graph, out: Tensor, weights: dict[str, Array] | None = None, **inputs: Array) -> Array:
    """`out` of the graph: float32 inputs become weights' twins by name."""
    g.output(out)
    backend = ReferenceBackend(Files(**(weights or {})), 1 << 30)  # type: ignore[arg-type]
    executable = backend.prepare(make_plan(g))
    for name, values in inputs.items():
        if values.dtype == np.float32:
            executable.inputs[name] = executable.inputs[name].view(np.float32)
    return executable(inputs)


def floats(*shape: int) -> Array:
    return rng.standard_normal(shape).astype(np.float32)


def leaf(g: Graph, name: str, values: Array) -> Tensor:
    return g.weight(name, values.shape, F32)


def one(op: str, *arrays: Array, **params: Any) -> Array:
    """A constructor of `Graph` applied to float32 arrays."""
    g = Graph()
    names = [f"a{i}" for i in range(len(arrays))]
    leaves = [leaf(g, n, a) for n, a in zip(names, arrays, strict=True)]
    built = g.glu(op, *leaves) if op in GLU_OPS else getattr(g, op)(*leaves, **params)
    return run(g, built, dict(zip(names, arrays, strict=True)))
