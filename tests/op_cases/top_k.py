"""The largest columns, alone and in order: every way to find them, ties, NaNs, infinities."""

from __future__ import annotations

import numpy as np
from case_data import Array, Draw, normal, values
from cases import Build, Case

from gguf_run.graph import F32, Graph, Tensor

NAN, INF = float("nan"), float("inf")


def argmax(*shape: int) -> Build:
    def build(g: Graph) -> Tensor:
        return g.argmax(g.input("x", shape, F32))

    return build


def top_k(k: int, *shape: int) -> Build:
    def build(g: Graph) -> Tensor:
        return g.top_k(g.input("x", shape, F32), k)

    return build


def of_slice(op: str, start: int) -> Build:
    def build(g: Graph) -> Tensor:
        x = g.view(g.input("x", (9, 100), F32), start, start + 40)
        return g.argmax(x) if op == "argmax" else g.top_k(x, 5)

    return build


def few_values(n: int) -> Draw:
    """Many equal elements."""

    def draw(rng: np.random.Generator, t: Tensor) -> Array:
        return rng.integers(-n, n, t.shape).astype(np.float32)

    return draw


def with_nans(rng: np.random.Generator, t: Tensor) -> Array:
    x = rng.standard_normal(t.shape).astype(np.float32)
    return np.where(rng.random(t.shape) < 0.9, np.float32(NAN), x)


SPECIAL = [NAN, -INF, 0.0, -0.0, INF, NAN, 1e-40, -1e-40, INF, -INF, 3.0, -3.0]

CASES = [
    *(
        Case(f"argmax {'x'.join(map(str, shape))}", argmax(*shape))
        for shape in (
            (1,),
            (1, 1),
            (33, 7),
            (2, 3, 260),
            (2, 3001),
            (1, 9001),
            (3, 16400),
            (1, 65536),
        )
    ),
    Case("argmax of the first of equals", argmax(3, 40000), {"x": few_values(9)}),
    Case("argmax of equals", argmax(2, 16384), {"x": values(-INF)}),
    Case("argmax of signed zeros", argmax(1, 4), {"x": values([-1, -0.0, 0.0, -0.0])}),
    Case("argmax of a slice", of_slice("argmax", 8)),
    Case("argmax of a slice at an odd column", of_slice("argmax", 9)),
    *(
        Case(f"top_k {k} of {n} in {n_row} rows", top_k(k, n_row, n))
        for k, n, n_row in (
            *((1, 1, 1), (1, 8, 3), (6, 60, 33), (8, 128, 9), (16, 512, 2), (32, 33, 2)),
            *((33, 200, 2), (40, 513, 1), (200, 200, 2), (1024, 1024, 1), (3000, 3000, 1)),
            *((5, 4097, 2), (64, 20000, 1), (1024, 9000, 1), (2048, 6200, 2)),
        )
    ),
    Case("top_k of a single row", top_k(3, 70)),
    Case("top_k of a batch of rows", top_k(3, 2, 5, 70)),
    Case("top_k 8 with equals", top_k(8, 5, 256), {"x": few_values(3)}),
    Case("top_k 50 with equals", top_k(50, 2, 9000), {"x": few_values(20)}),
    Case("top_k 12 of specials", top_k(12, 12), {"x": values(SPECIAL)}),
    Case("top_k 60 with NaNs", top_k(60, 3, 300), {"x": with_nans}),
    Case("top_k 500 with NaNs", top_k(500, 1, 5000), {"x": with_nans}),
    Case("top_k of a slice", of_slice("top_k", 9)),
    Case("top_k of large values", top_k(4, 2, 64), {"x": normal(0, 1e30)}),
]
