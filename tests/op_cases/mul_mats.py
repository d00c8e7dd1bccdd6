"""Several products of one x in a launch, with biases or a gate behind them: few tokens."""

from __future__ import annotations

from cases import Build, Case

from gguf_run.graph import F32, GLU_OPS, Graph, Tensor
from gguf_run.quants import quant_type

ROUNDED = 5e-7
"""As for single products (mul_mat.py): at most 3.3e-7 was seen."""


def product(g: Graph, dtype: str, name: str, n_out: int, x: Tensor, bias: bool = False) -> Tensor:
    y = g.mul_mat(g.weight(name, (n_out, x.shape[1]), quant_type(dtype)), x)
    return g.add(y, g.weight(f"{name}.bias", (n_out,), F32)) if bias else y


def three(dtype: str, n_tok: int, sizes: tuple[int, int, int], n_in: int, bias: bool) -> Build:
    def build(g: Graph) -> list[Tensor]:
        x = g.input("x", (n_tok, n_in), F32)
        pairs = zip("qkv", sizes, strict=True)
        return [product(g, dtype, name, n_out, x, bias) for name, n_out in pairs]

    return build


def gated(dtype: str, n_tok: int, op: str, n_ff: int, n_in: int) -> Build:
    def build(g: Graph) -> Tensor:
        x = g.input("x", (n_tok, n_in), F32)
        return g.glu(op, product(g, dtype, "gate", n_ff, x), product(g, dtype, "up", n_ff, x))

    return build


def chain(g: Graph) -> list[Tensor]:
    """The second product's x is made of the first one's: nothing to take together."""
    x = g.input("x", (8, 64), F32)
    y = product(g, "Q4_0", "a", 64, x)
    return [y, product(g, "Q4_0", "b", 64, g.mul(x, y)), product(g, "Q4_0", "c", 9, x)]


def two_types(g: Graph) -> list[Tensor]:
    x = g.input("x", (5, 256), F32)
    return [product(g, t, t + n, 40, x) for t, n in (("Q4_K", "q"), ("Q4_K", "k"), ("Q6_K", "v"))]


def one_weight_twice(g: Graph) -> Tensor:
    """Gate and up are the same product."""
    y = product(g, "Q4_0", "w", 33, g.input("x", (9, 64), F32))
    return g.glu("swiglu", y, y)


CASES = [
    *(
        Case(
            f"mul_mats of few {t}, {n} tokens, q k v of {sizes} x {n_in}{', biases' * bias}",
            three(t, n, sizes, n_in, bias),
            tolerance=ROUNDED,
        )
        for t in ("Q4_0", "BF16")
        for n, sizes, n_in, bias in (
            (5, (96, 32, 32), 96, False),
            (7, (7, 3, 5), 64, True),
            (8, (200, 40, 40), 1056, True),
            (17, (300, 100, 129), 544, False),
            (32, (50, 10, 1), 2080, True),
        )
    ),
    *(
        Case(
            f"mul_mats of few {t}, {n} tokens, {op} of {n_ff} x {n_in}",
            gated(t, n, op, n_ff, n_in),
            tolerance=ROUNDED,
        )
        for t in ("Q4_0", "Q8_0", "BF16")
        for n, op, n_ff, n_in in (
            (6, "swiglu", 200, 96),
            (9, "geglu", 3, 1024),
            (5, "swiglu", 150, 2080),
            *((5, op, 33, 288) for op in GLU_OPS if t == "Q4_0"),
        )
    ),
    Case(
        "mul_mats of few Q4_K, 31 tokens, swiglu",
        gated("Q4_K", 31, "swiglu", 200, 512),
        tolerance=ROUNDED,
    ),
    Case("mul_mats of few, a chain of products", chain, tolerance=ROUNDED),
    Case("mul_mats of few, two types", two_types, tolerance=ROUNDED),
    Case("mul_mats of few, one weight as gate and up", one_weight_twice, tolerance=ROUNDED),
]
