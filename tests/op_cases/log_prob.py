"""Log probabilities of one column a row: short and long rows, steep ones, ruled-out columns."""

from __future__ import annotations

from case_data import integers, normal, values
from cases import Build, Case

from gguf_run.graph import F32, I32, Graph, Tensor


def log_prob(n_row: int, n_col: int) -> Build:
    def build(g: Graph) -> Tensor:
        return g.log_prob(g.input("x", (n_row, n_col), F32), g.input("ids", (n_row,), I32))

    return build


def of_slice(g: Graph) -> Tensor:
    x = g.view(g.input("x", (3, 50), F32), 7, 47)
    return g.log_prob(x, g.input("ids", (3,), I32))


NEVER = -float("inf")

CASES = [
    *(
        Case(f"log_prob {n_row}x{n_col}", log_prob(n_row, n_col), {"ids": integers(0, n_col)})
        for n_row, n_col in ((1, 1), (2, 31), (3, 1025), (1, 5000), (2, 33000))
    ),
    Case("log_prob of a slice", of_slice, {"ids": integers(0, 40)}),
    Case(
        "log_prob of steep rows",
        log_prob(3, 700),
        {"x": normal(1e4, 300), "ids": integers(0, 700)},
    ),
    Case(
        "log_prob beside ruled-out columns",
        log_prob(1, 4),
        {"x": values([NEVER, 1.0, NEVER, 2.0]), "ids": values(1)},
    ),
]
