"""Heads side by side: rows of one head for all, slices, odd sizes."""

from __future__ import annotations

from cases import Build, Case

from gguf_run.graph import F32, Graph, Tensor


def concat(n_tok: int, n_head: int, n: int, m: int, one_row: bool = False) -> Build:
    def build(g: Graph) -> Tensor:
        b = g.input("b", (n_tok, 1 if one_row else n_head, m), F32)
        return g.concat(g.input("a", (n_tok, n_head, n), F32), b)

    return build


def of_slices(start: int) -> Build:
    """The parts of a query, swapped."""

    def build(g: Graph) -> Tensor:
        x = g.input("x", (4, 3, 80), F32)
        return g.concat(g.view(x, start + 48, start + 64), g.view(x, start, start + 48))

    return build


CASES = [
    *(
        Case(f"concat {t}x{h}x{n}+{m}", concat(t, h, n, m))
        for t, h, n, m in ((1, 1, 1, 1), (3, 4, 512, 64), (9, 5, 7, 12))
    ),
    *(
        Case(f"concat {t}x{h}x{n} and a row of {m}", concat(t, h, n, m, one_row=True))
        for t, h, n, m in ((1, 16, 128, 64), (300, 4, 5, 8))
    ),
    *(Case(f"concat of slices from {i}", of_slices(i)) for i in (0, 16, 3)),
]
