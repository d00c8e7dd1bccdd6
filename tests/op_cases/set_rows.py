"""Appending to paged caches: every type, rotated rows, views, padding."""

from __future__ import annotations

from case_data import Draw, distinct, integers, normal, values
from cases import Build, Case

from gguf_run.graph import F32, Graph, RopeMode, RopeParams, Tensor
from gguf_run.kv_cache import PAGE_SIZE
from gguf_run.quants import quant_type

N_PAGE = 3


def cache(g: Graph, n_head: int, n_col: int, dtype: str) -> Tensor:
    return g.cache("cache", (N_PAGE, n_head, PAGE_SIZE, n_col), quant_type(dtype))


def append(n_tok: int, n_head: int, n_col: int, dtype: str) -> Build:
    def build(g: Graph) -> Tensor:
        rows = g.input("rows", (n_tok, n_head, n_col), F32)
        return g.set_rows(cache(g, n_head, n_col, dtype), rows, g.input("slots", (n_tok,)))

    return build


def append_view(n_tok: int, start: int, dtype: str) -> Build:
    """Two heads of 32 elements inside rows of 133."""

    def build(g: Graph) -> Tensor:
        whole = g.input("rows", (n_tok, 133), F32)
        rows = g.reshape(g.view(whole, start, start + 64), n_tok, 2, 32)
        return g.set_rows(cache(g, 2, 32, dtype), rows, g.input("slots", (n_tok,)))

    return build


def append_rotated(n_tok: int, n_head: int, n_col: int, dtype: str, n_rot: int) -> Build:
    def build(g: Graph) -> Tensor:
        rows = g.input("rows", (n_tok, n_head, n_col), F32)
        params = RopeParams(RopeMode.NEOX, n_rot, 1e6)
        rotated = g.rope(rows, g.input("positions", (n_tok,)), params)
        return g.set_rows(cache(g, n_head, n_col, dtype), rotated, g.input("slots", (n_tok,)))

    return build


def case(name: str, build: Build, **data: Draw) -> Case:
    return Case(f"set_rows {name}", build, {"slots": distinct(N_PAGE * PAGE_SIZE), **data})


POSITIONS = integers(0, 131072)

CASES = [
    *(case(f"{t}, one token", append(1, 2, 128, t)) for t in ("F32", "F16", "Q8_0", "Q4_0")),
    *(case(f"{t}, many tokens", append(70, 9, 128, t)) for t in ("F32", "F16", "Q8_0", "Q4_0")),
    *(case(f"{t}, view", append_view(5, 21, t)) for t in ("F32", "F16", "Q8_0", "Q4_0")),
    *(
        case(f"{t}, rotated", append_rotated(9, 3, 64, t, 48), positions=POSITIONS)
        for t in ("F32", "F16", "Q8_0", "Q4_0")
    ),
    case("F16, tiny heads", append(3, 2, 8, "F16")),
    case("F32, odd heads", append(3, 2, 37, "F32")),
    case("Q8_0, zeros", append(2, 1, 64, "Q8_0"), rows=values(0)),
    case("Q4_0, large numbers", append(2, 1, 64, "Q4_0"), rows=normal(0, 1e4)),
]
