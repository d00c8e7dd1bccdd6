"""get_rows from tables of every type, from results and from slices of them."""

from __future__ import annotations

from case_data import WEIGHT_TYPES, integers
from cases import Build, Case

from gguf_run.graph import F32, Graph, Tensor
from gguf_run.quants import quant_type

N_ROW = 9


def from_weight(dtype: str, n_id: int, n_col: int) -> Build:
    def build(g: Graph) -> Tensor:
        table = g.weight("table", (N_ROW, n_col), quant_type(dtype))
        return g.get_rows(table, g.input("ids", (n_id,)))

    return build


def from_result(n_id: int) -> Build:
    """As the head takes the rows of the wanted tokens."""

    def build(g: Graph) -> Tensor:
        x = g.scale(g.input("x", (N_ROW, 133), F32), 2.0)
        return g.get_rows(x, g.input("ids", (n_id,)))

    return build


def from_slice(n_id: int) -> Build:
    def build(g: Graph) -> Tensor:
        x = g.view(g.input("x", (N_ROW, 133), F32), 5, 70)
        return g.get_rows(x, g.input("ids", (n_id,)))

    return build


IDS = {"ids": integers(0, N_ROW)}
QUANTISED = [name for name in WEIGHT_TYPES if name not in ("F32", "F16", "BF16")]
CASES = [
    *(
        Case(f"get_rows {name}", from_weight(name, 5, 5 * quant_type(name).block_size), IDS)
        for name in QUANTISED
    ),
    *(
        Case(f"get_rows {name} {n_col}", from_weight(name, 3, n_col), IDS)
        for name in ("F32", "F16", "BF16")
        for n_col in (1, 131, 256)
    ),
    Case("get_rows of one of many chunks", from_weight("Q4_0", 1, 4128), IDS),
    Case("get_rows from a result", from_result(4), IDS),
    Case("get_rows from a slice", from_slice(12), IDS),
]
