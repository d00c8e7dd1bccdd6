"""Casts of activations, seen as they are stored (Q8_1, Q16_1) and through a product (F16)."""

from __future__ import annotations

import numpy as np
from case_data import Array, values
from cases import Build, Case

from gguf_run.graph import F16, F16_PAIR, F16_SCALED, F32, Q8_1, Q16_1, Graph, Tensor
from gguf_run.quants import QuantType


def whole(form: QuantType, n_tok: int, n_col: int) -> Build:
    def build(g: Graph) -> Tensor:
        return g.cast(g.input("x", (n_tok, n_col), F32), form)

    return build


def of_view(form: QuantType, n_tok: int, start: int) -> Build:
    def build(g: Graph) -> Tensor:
        return g.cast(g.view(g.input("x", (n_tok, 203), F32), start, start + 96), form)

    return build


def of_heads(form: QuantType) -> Build:
    """Slices of heads, whose rows lie at two strides."""

    def build(g: Graph) -> Tensor:
        heads = g.reshape(g.view(g.input("x", (4, 400), F32), 7, 391), 4, 3, 128)
        return g.cast(g.view(heads, 32, 96), form)

    return build


def view_to_f16(form: QuantType, n_tok: int, start: int) -> Build:
    """Through a unit matrix, which gives back each number as it was rounded."""

    def build(g: Graph) -> Tensor:
        x = g.view(g.input("x", (n_tok, 203), F32), start, start + 96)
        return g.mul_mat(g.weight("w", (96, 96), F16), g.cast(x, form))

    return build


def through_f16(form: QuantType, n_tok: int) -> Build:
    def build(g: Graph) -> Tensor:
        x = g.cast(g.input("x", (n_tok, 64), F32), form)
        return g.mul_mat(g.weight("w", (64, 64), F16), x)

    return build


def rows_of_all_sizes() -> Array:
    """Zeros, one number, rows from 1e-30 to 1e30, one spread over 2^26, just below a power of 2."""
    rng = np.random.default_rng(5)
    x = rng.standard_normal((12, 64)).astype(np.float32)
    x[0] = 0
    x[1], x[1, 7] = 0, -3
    x[2:9] *= np.logspace(-30, 30, 7, dtype=np.float32)[:, None]
    x[9] *= np.exp2(rng.integers(-26, 1, 64))
    x[10] = np.nextafter(np.float32(2), np.float32(0))
    x[11] = -65504
    return x


def of_blocks(form: QuantType) -> list[Case]:
    name = form.name
    return [
        *(
            Case(f"cast {t}x{n} to {name}", whole(form, t, n))
            for t, n in ((1, 32), (3, 96), (8, 288))
        ),
        Case(f"cast zeros to {name}", whole(form, 2, 64), {"x": values(np.zeros((2, 64)))}),
        *(Case(f"cast a view from {i} to {name}", of_view(form, 5, i)) for i in (0, 3, 64)),
        Case(f"cast slices of heads to {name}", of_heads(form)),
    ]


UNIT = values(np.eye(96))
CASES = [
    *of_blocks(Q8_1),
    *of_blocks(Q16_1),
    *(
        Case(f"cast a view from {i} to {f.name}", view_to_f16(f, 11, i), {"w": UNIT})
        for f in (F16_SCALED, F16_PAIR)
        for i in (0, 7)
    ),
    *(
        Case(
            f"cast rows of all sizes to {f.name}",
            through_f16(f, 12),
            {"x": values(rows_of_all_sizes()), "w": values(np.eye(64))},
        )
        for f in (F16_SCALED, F16_PAIR)
    ),
]
