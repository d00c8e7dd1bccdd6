"""Gated units: sizes, slices of one row, values where exponentials overflow."""

from __future__ import annotations

from case_data import normal, values
from cases import Build, Case

from gguf_run.graph import F32, GLU_OPS, GluParams, Graph, Tensor

EXTREME = [-1e12, -1e4, -90, -20, -1, -0.0, 0, 1e-30, 1, 20, 90, 1e4, 1e12]
OF_ONE_SIZE = [1 / abs(x) if x else 1 for x in EXTREME]
"""What makes the products of extreme gates comparable."""


def glu(op: str, *shape: int) -> Build:
    def build(g: Graph) -> Tensor:
        return g.glu(op, g.input("gate", shape, F32), g.input("up", shape, F32))

    return build


def of_fused_row(op: str, n_ff: int) -> Build:
    """Gate and up as one projection gives them."""

    def build(g: Graph) -> Tensor:
        both = g.input("x", (5, 2 * n_ff), F32)
        return g.glu(op, g.view(both, 0, n_ff), g.view(both, n_ff, 2 * n_ff))

    return build


def clamped(*shape: int, fused: bool = False) -> Build:
    """`swiglu_oai`; fused: gate and up as one projection gives them."""

    def build(g: Graph) -> Tensor:
        params = GluParams(alpha=1.702, limit=7.0)
        if not fused:
            gate, up = g.input("gate", shape, F32), g.input("up", shape, F32)
            return g.swiglu_oai(gate, up, params)
        n = shape[-1]
        both = g.input("x", (*shape[:-1], 2 * n), F32)
        return g.swiglu_oai(g.view(both, 0, n), g.view(both, n, 2 * n), params)

    return build


CASES = [
    *(Case(f"{op} 3x33", glu(op, 3, 33)) for op in GLU_OPS),
    *(Case(f"{op} 2x3x32", glu(op, 2, 3, 32), {"gate": normal(0, 4)}) for op in GLU_OPS),
    *(
        Case(f"{op} at extremes", glu(op, 13), {"gate": values(EXTREME), "up": values(OF_ONE_SIZE)})
        for op in GLU_OPS
    ),
    *(Case(f"{op} of a fused row of {n}", of_fused_row(op, n)) for op in GLU_OPS for n in (40, 7)),
    Case("swiglu 1x1", glu("swiglu", 1, 1)),
    Case("swiglu 1x70001", glu("swiglu", 1, 70001)),
    *(
        Case(f"swiglu_oai {'x'.join(map(str, s))}", clamped(*s), {"gate": normal(0, 9)})
        for s in ((3, 33), (2, 3, 32))
    ),
    *(Case(f"swiglu_oai of fused rows of {n}", clamped(2, 3, n, fused=True)) for n in (40, 7)),
    Case("swiglu_oai at extremes", clamped(13), {"gate": values(EXTREME), "up": values(EXTREME)}),
]
