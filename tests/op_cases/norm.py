"""Norms of rows of every length and stride, alone and fused with the product and RoPE."""

from __future__ import annotations

from case_data import integers, normal, values
from cases import Build, Case

from gguf_run.graph import F32, Graph, RopeMode, RopeParams, Tensor

SIZES = ((1, 1), (3, 3), (5, 64), (33, 60), (9, 260), (2, 1023), (3, 4096), (2, 8200), (1, 65537))
"""Rows by columns: a warp, eight and 32 a row; by four columns and by one."""


def norm(op: str, *shape: int, eps: float = 1e-5) -> Build:
    def build(g: Graph) -> Tensor:
        x = g.input("x", shape, F32)
        return g.rms_norm(x, eps) if op == "rms_norm" else g.norm(x, eps)

    return build


def rms_norm_mul(*shape: int) -> Build:
    def build(g: Graph) -> Tensor:
        normed = g.rms_norm(g.input("x", shape, F32), 1e-6)
        return g.mul(normed, g.weight("w", shape[-1:], F32))

    return build


def of_fused_qkv(op: str, start: int) -> Build:
    """Three heads of 20 elements inside rows of 100, as a fused projection gives them."""

    def build(g: Graph) -> Tensor:
        rows = g.view(g.input("x", (7, 100), F32), start, start + 60)
        heads = g.reshape(rows, 7, 3, 20)
        return g.rms_norm(heads, 1e-5) if op == "rms_norm" else g.norm(heads, 1e-5)

    return build


def whole_rows_then_heads(g: Graph) -> Tensor:
    """The product and RoPE see other shapes than the norm did."""
    normed = g.reshape(g.rms_norm(g.input("x", (5, 48), F32), 1e-6), 5, 3, 16)
    weighted = g.mul(normed, g.weight("w", (16,), F32))
    return g.rope(weighted, g.input("positions", (5,)), RopeParams(RopeMode.NEOX, 16, 1e4))


def norm_as_second_factor(g: Graph) -> Tensor:
    x = g.input("x", (5, 48), F32)
    return g.mul(g.add(x, x), g.rms_norm(x, 1e-6))


def product_of_slice(g: Graph) -> Tensor:
    normed = g.rms_norm(g.input("x", (5, 48), F32), 1e-6)
    return g.mul(g.view(normed, 7, 27), g.weight("w", (20,), F32))


def rms_norm_mul_rope(
    n_tok: int, n_head: int, head_dim: int, params: RopeParams, factors: bool = False
) -> Build:
    def build(g: Graph) -> Tensor:
        x = g.input("x", (n_tok, n_head, head_dim), F32)
        weighted = g.mul(g.rms_norm(x, 1e-6), g.weight("w", (head_dim,), F32))
        divisors = g.weight("factors", (params.n_dims // 2,), F32) if factors else None
        return g.rope(weighted, g.input("positions", (n_tok,)), params, divisors)

    return build


def heads_of_fused_qkv(start: int) -> Build:
    def build(g: Graph) -> Tensor:
        rows = g.view(g.input("x", (7, 100), F32), start, start + 60)
        normed = g.rms_norm(g.reshape(rows, 7, 3, 20), 1e-6)
        weighted = g.mul(normed, g.weight("w", (20,), F32))
        return g.rope(weighted, g.input("positions", (7,)), RopeParams(RopeMode.NORM, 20, 1e4))

    return build


def rotated(name: str, build: Build) -> Case:
    """Weights near 100, as K-norms of some models have them."""
    data = {"positions": integers(0, 131072), "w": normal(100, 10)}
    return Case(f"rms_norm_mul_rope {name}", build, data)


NEOX, NORM = RopeMode.NEOX, RopeMode.NORM

CASES = [
    *(Case(f"rms_norm {n}x{m}", norm("rms_norm", n, m)) for n, m in SIZES),
    *(Case(f"norm {n}x{m}", norm("norm", n, m)) for n, m in SIZES),
    *(
        Case(f"rms_norm_mul {n}x{m}", rms_norm_mul(n, m), {"w": normal(100, 30)})
        for n, m in ((1, 1), (3, 33), (1, 1024), (2, 2049), (1, 8200))
    ),
    Case("rms_norm of a row without a batch", norm("rms_norm", 36)),
    Case("rms_norm_mul 2x3x2x8", rms_norm_mul(2, 3, 2, 8)),
    *(
        Case(f"{op} of heads from column {start}", of_fused_qkv(op, start))
        for op in ("rms_norm", "norm")
        for start in (40, 7)
    ),
    Case("rms_norm of large values", norm("rms_norm", 3, 64), {"x": normal(0, 1e17)}),
    Case("rms_norm of zeros", norm("rms_norm", 2, 64), {"x": values(0)}),
    Case("rms_norm of tiny values", norm("rms_norm", 2, 64, eps=0.0), {"x": normal(0, 1e-15)}),
    Case("norm of values far from zero", norm("norm", 3, 512), {"x": normal(1000, 1)}),
    Case("rms_norm_mul, the norm second", norm_as_second_factor),
    Case("rms_norm_mul of a slice", product_of_slice),
    rotated("one token", rms_norm_mul_rope(1, 4, 128, RopeParams(NEOX, 128, 1e6))),
    rotated("tiny heads", rms_norm_mul_rope(5, 3, 8, RopeParams(NORM, 8, 1e4))),
    rotated("odd heads", rms_norm_mul_rope(4, 3, 33, RopeParams(NORM, 32, 1e4))),
    rotated(
        "more heads than a block takes", rms_norm_mul_rope(3, 11, 256, RopeParams(NEOX, 64, 1e4))
    ),
    rotated("many tokens", rms_norm_mul_rope(20, 19, 64, RopeParams(NEOX, 64, 1e4))),
    rotated("frequency factors", rms_norm_mul_rope(2, 2, 64, RopeParams(NEOX, 64, 1e4), True)),
    rotated("heads from column 40", heads_of_fused_qkv(40)),
    rotated("heads from column 7", heads_of_fused_qkv(7)),
    rotated("whole rows first", whole_rows_then_heads),
    rotated("too wide for a block", rms_norm_mul_rope(1, 2, 2052, RopeParams(NEOX, 2052, 1e4))),
]
