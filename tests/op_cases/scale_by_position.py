"""Queries that grow with their position: below, at and beyond a multiple of the length, slices."""

from __future__ import annotations

from case_data import values
from cases import Build, Case

from gguf_run.graph import F32, Graph, TemperatureParams, Tensor

POSITIONS = [0, 1, 8190, 8191, 8192, 16383, 16384, 1 << 20]


def scaled(n_head: int, n: int, offset: float, start: int = 0) -> Build:
    def build(g: Graph) -> Tensor:
        x = g.view(g.input("x", (len(POSITIONS), n_head, n + start), F32), start, start + n)
        params = TemperatureParams(growth=0.1, length=8192, offset=offset)
        return g.scale_by_position(x, g.input("positions", (len(POSITIONS),)), params)

    return build


CASES = [
    Case(
        f"scale_by_position {h}x{n} from {start}, offset {offset:g}",
        scaled(h, n, offset, start),
        {"positions": values(POSITIONS)},
    )
    for h, n, start in ((1, 5, 0), (4, 128, 0), (3, 32, 8), (3, 32, 3))
    for offset in (0.0, 1.0)
]
