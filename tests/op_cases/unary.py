"""Functions of each element: sizes, slices, values where exponentials overflow."""

from __future__ import annotations

from case_data import normal, values
from cases import Build, Case

from gguf_run.graph import F32, UNARY_OPS, Graph, Tensor, XieluParams

EXTREME = [-1e4, -90, -20, -1, -0.0, 0, 1e-30, 1, 20, 90, 1e4]


def unary(op: str, *shape: int) -> Build:
    def build(g: Graph) -> Tensor:
        return g.unary(op, g.input("x", shape, F32))

    return build


def of_slice(op: str) -> Build:
    def build(g: Graph) -> Tensor:
        return g.unary(op, g.view(g.input("x", (5, 60), F32), 3, 43))

    return build


def xielu(*shape: int) -> Build:
    def build(g: Graph) -> Tensor:
        return g.xielu(g.input("x", shape, F32), XieluParams(1.3, 0.8, 0.5, -1e-6))

    return build


CASES = [
    *(Case(f"xielu {'x'.join(map(str, s))}", xielu(*s)) for s in ((3, 33), (2, 3, 32), (1, 7001))),
    *(Case(f"xielu at {x:g}", xielu(1), {"x": values([x])}) for x in EXTREME),
    *(Case(f"{op} 3x33", unary(op, 3, 33)) for op in UNARY_OPS),
    *(Case(f"{op} 2x3x32", unary(op, 2, 3, 32), {"x": normal(0, 4)}) for op in UNARY_OPS),
    *(Case(f"{op} of a slice", of_slice(op)) for op in UNARY_OPS),
    *(
        Case(f"{op} at {x:g}", unary(op, 1), {"x": values([x])})
        for op in UNARY_OPS
        for x in EXTREME
    ),
]
