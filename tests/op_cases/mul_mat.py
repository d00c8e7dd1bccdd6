"""Products of every type, few and many tokens, odd sizes, with additions behind them."""

from __future__ import annotations

import numpy as np
from case_data import WEIGHT_TYPES, Array, values
from cases import Build, Case

from gguf_run.cuda.activations import MIN_FEW, MIN_WGMMA, MOST_FEW
from gguf_run.graph import F16_TILES, F32, Graph, Tensor
from gguf_run.quants import quant_type

FLOATS = ("F32", "F16", "BF16")
EXACT = 1e-10
"""On the same casts only the order of f32 sums differs: at most 2e-13 was seen."""
ROUNDED, WITH_MINIMUMS = 1e-7, 2e-7
"""Where scaled weights are rounded to f16 (mul_mat_wgmma.cuh). The minimums of random blocks are as
large as their numbers, and are rounded as well."""
HAVE_MINIMUMS = ("Q4_1", "Q5_1", "Q2_K", "Q4_K", "Q5_K")
ROUNDED_OF_FEW = 3e-7
"""The same where scales are rounded as well (mul_mat_few.cuh): at most 2.1e-7 was seen."""
QUANTISED = tuple(name for name in WEIGHT_TYPES if name not in FLOATS)


def product(dtype: str, n_tok: int, n_out: int, n_in: int) -> Build:
    def build(g: Graph) -> Tensor:
        w = g.weight("w", (n_out, n_in), quant_type(dtype))
        return g.mul_mat(w, g.input("x", (n_tok, n_in), F32))

    return build


def case(dtype: str, n_tok: int, n_out: int, n_in: int) -> Case:
    name = f"mul_mat {dtype} {n_out}x{n_in}, {n_tok} tokens"
    on_wgmma = n_tok >= MIN_WGMMA and n_in % F16_TILES.block_size == 0
    rounded = WITH_MINIMUMS if dtype in HAVE_MINIMUMS else ROUNDED
    if MIN_FEW <= n_tok <= MOST_FEW and dtype not in FLOATS:
        return Case(name, product(dtype, n_tok, n_out, n_in), tolerance=ROUNDED_OF_FEW)
    return Case(name, product(dtype, n_tok, n_out, n_in), tolerance=rounded if on_wgmma else EXACT)


def plus_bias(dtype: str, n_tok: int, n_out: int = 37) -> Build:
    def build(g: Graph) -> Tensor:
        y = product(dtype, n_tok, n_out, 256)(g)
        return g.add(y, g.weight("bias", (n_out,), F32))

    return build


def plus_residual(dtype: str, n_tok: int, first: bool) -> Build:
    """The sum of a stream of activations, a slice with gaps, and a product."""

    def build(g: Graph) -> Tensor:
        y = product(dtype, n_tok, 37, 256)(g)
        residual = g.view(g.input("residual", (n_tok, 50), F32), 3, 40)
        return g.add(y, residual) if first else g.add(residual, y)

    return build


def wide_residual(dtype: str, n_tok: int) -> Build:
    return plus_residual(dtype, n_tok, first=False)


def plus_itself(n_tok: int) -> Build:
    def build(g: Graph) -> Tensor:
        y = product("Q4_0", n_tok, 33, 64)(g)
        return g.add(y, y)

    return build


def slice_plus_row(n_tok: int) -> Build:
    """Only a part of the product goes on: nothing that one kernel can add."""

    def build(g: Graph) -> Tensor:
        y = product("Q8_0", n_tok, 48, 64)(g)
        return g.add(g.view(y, 16, 32), g.weight("bias", (16,), F32))

    return build


def heads_plus_row(n_tok: int) -> Build:
    """The product as heads, each of which gets the same row."""

    def build(g: Graph) -> Tensor:
        y = g.reshape(product("Q8_0", n_tok, 48, 64)(g), n_tok, 3, 16)
        return g.add(y, g.weight("bias", (16,), F32))

    return build


def shared_activations(n_tok: int) -> Build:
    """Three products of one x, of types that take it differently; x is a slice with gaps."""

    def build(g: Graph) -> list[Tensor]:
        x = g.view(g.input("x", (n_tok, 201), F32), 5, 69)
        types = ("Q4_0", "Q8_0", "F16", "F32")
        return [g.mul_mat(g.weight(f"w{t}", (17, 64), quant_type(t)), x) for t in types]

    return build


def wide_slice(g: Graph) -> Tensor:
    """x is a slice with gaps."""
    x = g.view(g.input("x", (75, 301), F32), 5, 261)
    return g.mul_mat(g.weight("w", (130, 256), quant_type("Q4_0")), x)


def far_from_one(n_tok: int) -> Array:
    """Rows from 1e-20 to 1e20, and one number among them that f16 could not hold."""
    rng = np.random.default_rng(3)
    x = rng.standard_normal((n_tok, 256)).astype(np.float32)
    x *= np.logspace(-20, 20, n_tok, dtype=np.float32)[:, None]
    x[n_tok // 2, 5] = 3e5
    return x


def largest(rows: int, sign: int) -> Array:
    """Numbers that are all as large as their blocks allow."""
    return sign * np.ones((rows, 256), np.float32)


def large_cases() -> list[Case]:
    """Several tiles and blocks each way, and sums shared among blocks."""
    return [
        *(case("Q4_0", n, 131, 2080) for n in (1, 4, 8)),
        *(case("Q4_0", n, 300, 1056) for n in (2, 3, 5, 7, 16, 17, 32, 64)),
        *(case("Q6_K", n, 300, 1024) for n in (6, 16, 32)),
        case("Q4_0", 1, 700, 96),
        case("Q4_0", 33, 130, 2080),
        case("Q4_0", 129, 129, 96),
        case("Q4_K", 65, 65, 1024),
        case("F16", 129, 150, 160),
        *(case(t, n, 130, 1056) for t in ("F16", "BF16") for n in (17, 33, 64, 65)),
        case("F32", 65, 65, 65),
    ]


def wide_cases() -> list[Case]:
    """Tiles of wgmma: every type; ragged ones, several each way, and sums shared among blocks."""
    return [
        *(case(t, 70, 140, 512) for t in WEIGHT_TYPES if t != "F32"),
        *(case(t, 300, 270, 1024) for t in ("Q4_0", "Q6_K", "F16")),
        *(case(t, 257, 130, 128) for t in ("Q8_0", "BF16")),
        case("Q4_0", 130, 40, 5120),
        Case("mul_mat of a slice, wide", wide_slice),
        Case(
            "mul_mat Q8_0, wide, rows far from one",
            product("Q8_0", 70, 20, 256),
            {"x": values(far_from_one(70))},
        ),
        *(
            Case(f"mul_mat_add {t}, {n} tokens, {what}", build(t, n))
            for t, n in (("Q4_0", 140), ("BF16", 90))
            for what, build in (("a bias, wide", plus_bias), ("a residual, wide", wide_residual))
        ),
    ]


CASES = [
    *wide_cases(),
    *(case(t, n, 37, 2 * max(quant_type(t).block_size, 64)) for t in QUANTISED for n in (1, 5)),
    *(case(t, n, 67, 2 * max(quant_type(t).block_size, 48)) for t in QUANTISED for n in (9, 33)),
    *(case(t, n, 5, 96) for t in ("Q4_0", "Q8_0") for n in (1, 2, 3, 4, 5, 7, 8, 9)),
    *(case(t, n, 35, k) for t in FLOATS for n in (1, 2, 5, 8) for k in (7, 264)),
    *(case(t, n, 66, k) for t in FLOATS for n in (9, 33) for k in (31, 160)),
    *(case("Q4_0", n, 40, 64) for n in (31, 32, 63, 64, 65)),
    *large_cases(),
    *(
        Case(f"mul_mat_add {t}, {n} tokens, bias", plus_bias(t, n))
        for t in ("Q4_0", "F16", "F32")
        for n in (1, 3, 20, 70)
    ),
    *(
        Case(
            f"mul_mat_add {t}, {n} tokens, residual {'behind' if b else 'ahead'}",
            plus_residual(t, n, b),
        )
        for t in ("Q8_0", "BF16")
        for n in (1, 11)
        for b in (True, False)
    ),
    *(Case(f"mul_mat twice in a sum, {n} tokens", plus_itself(n)) for n in (2, 12)),
    *(Case(f"mul_mat, a slice plus a row, {n} tokens", slice_plus_row(n)) for n in (2, 12)),
    *(Case(f"mul_mat, heads plus a row, {n} tokens", heads_plus_row(n)) for n in (2, 12)),
    *(Case(f"mul_mat of a shared x, {n} tokens", shared_activations(n)) for n in (3, 13)),
    *(
        Case(
            f"mul_mat {t}, rows far from one",
            product(t, 12, 20, 256),
            {"x": values(far_from_one(12))},
            ROUNDED_OF_FEW,
        )
        for t in ("Q4_0", "Q4_K", "F16")
    ),
    *(
        Case(
            f"mul_mat Q8_0, {n} rows far from one",
            product("Q8_0", n, 20, 256),
            {"x": values(x)},
            ROUNDED_OF_FEW,
        )
        for n, x in ((4, far_from_one(4)), (8, far_from_one(8)))
    ),
    *(
        Case(
            f"mul_mat Q8_0, {n} tokens, sums of one sign ({sign})",
            product("Q8_0", n, 9, 256),
            {"w": values(largest(9, 1)), "x": values(largest(n, sign))},
        )
        for n in (1, 3)
        for sign in (1, -1)
    ),
]
