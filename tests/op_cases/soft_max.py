"""Softmax of rows of every length, flat, steep and far from zero; and their sums."""

from __future__ import annotations

from case_data import normal, values
from cases import Build, Case

from gguf_run.graph import F32, Graph, Tensor


def soft_max(*shape: int) -> Build:
    def build(g: Graph) -> Tensor:
        return g.soft_max(g.input("x", shape, F32))

    return build


def of_slice(start: int) -> Build:
    def build(g: Graph) -> Tensor:
        return g.soft_max(g.view(g.input("x", (9, 100), F32), start, start + 40))

    return build


def sums(*shape: int, start: int = 0) -> Build:
    def build(g: Graph) -> Tensor:
        x = g.input("x", (*shape[:-1], shape[-1] + start), F32)
        return g.sum_rows(g.view(x, start, start + shape[-1]))

    return build


CASES = [
    *(
        Case(f"sum_rows {'x'.join(map(str, shape))}", sums(*shape), {"x": normal(1)})
        for shape in ((1, 1), (33, 60), (2, 5, 8), (9, 260), (2, 1023), (1, 65537))
    ),
    *(Case(f"sum_rows of a slice at {n}", sums(9, 40, start=n), {"x": normal(1)}) for n in (8, 9)),
    *(
        Case(f"soft_max {'x'.join(map(str, shape))}", soft_max(*shape))
        for shape in (
            (1, 1),
            (3, 3),
            (33, 60),
            (2, 5, 8),
            (9, 260),
            (2, 1023),
            (1, 8200),
            (1, 65537),
        )
    ),
    Case("soft_max of large values", soft_max(3, 128), {"x": normal(0, 1e4)}),
    Case("soft_max far from zero", soft_max(3, 128), {"x": normal(-1e4, 3)}),
    Case("soft_max of equals", soft_max(2, 128), {"x": values(1e4)}),
    Case("soft_max with hidden columns", soft_max(2, 4), {"x": values([1, -float("inf"), 2, 0])}),
    Case("soft_max of a slice", of_slice(8)),
    Case("soft_max of a slice at an odd column", of_slice(9)),
]
