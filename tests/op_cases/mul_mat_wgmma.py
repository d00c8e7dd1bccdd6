"""Products that share activations in tiles: queries, keys and values; gate and up."""

from __future__ import annotations

from collections.abc import Sequence

from case_data import normal
from cases import Build, Case

from gguf_run.cuda.activations import MIN_WGMMA
from gguf_run.graph import F16, F32, Graph, Tensor
from gguf_run.quants import quant_type
from op_cases.mul_mat import ROUNDED

ONE_FACTOR = 3e-7
"""The gated rows of all sizes share one factor, so that they are rounded otherwise than by a cast;
both roundings count, as do those of the weights."""
CUT = 0.5
"""Only that nothing is infinite."""


def several(dtypes: Sequence[str], n_tok: int, sizes: Sequence[int], bias: bool = False) -> Build:
    def build(g: Graph) -> list[Tensor]:
        x, found = g.input("x", (n_tok, 256), F32), []
        for i, (dtype, n_out) in enumerate(zip(dtypes, sizes, strict=True)):
            y = g.mul_mat(g.weight(f"w{i}", (n_out, 256), quant_type(dtype)), x)
            found.append(g.add(y, g.weight(f"b{i}", (n_out,), F32)) if bias else y)
        return found

    return build


def gated(dtypes: Sequence[str], op: str, n_tok: int, n_out: int, n_in: int = 256) -> Build:
    """Through a product, which sees what was cast."""

    def build(g: Graph) -> Tensor:
        x = g.input("x", (n_tok, n_in), F32)
        weights = (
            g.weight(f"w{i}", (n_out, n_in), quant_type(dtype)) for i, dtype in enumerate(dtypes)
        )
        h = g.glu(op, *(g.mul_mat(w, x) for w in weights))
        return g.mul_mat(g.weight("down", (24, n_out), F16), h)

    return build


CASES = [
    *(
        Case(f"mul_mats {t}, {n} tokens", several((t,) * 3, n, sizes), tolerance=ROUNDED)
        for t, n, sizes in (("Q4_0", 70, (140, 30, 64)), ("Q6_K", 300, (128, 129, 1)))
    ),
    Case("mul_mats, biases", several(("Q8_0",) * 3, 80, (70, 35, 130), True), tolerance=ROUNDED),
    Case("mul_mats of two types", several(("Q5_0", "Q5_0", "F16"), 66, (140, 30, 64))),
    Case("mul_mats of two", several(("BF16", "BF16"), MIN_WGMMA, (40, 200))),
    *(
        Case(
            f"mul_mat_glu_cast {op} {t}, {n} tokens",
            gated((t, t), op, n, n_out),
            tolerance=ONE_FACTOR,
        )
        for op, t, n, n_out in (
            ("swiglu", "Q4_0", 70, 256),
            ("swiglu", "Q4_0", 300, 128),
            ("geglu", "Q6_K", 140, 256),
            ("swiglu", "BF16", 90, 128),
            ("reglu", "Q8_0", 70, 128),
        )
    ),
    Case(
        "mul_mat_glu_cast beyond 10^6, where numbers are cut",
        gated(("Q4_0", "Q4_0"), "swiglu", 70, 128),
        {"x": normal(0, 1000)},
        tolerance=CUT,
    ),
    Case(
        "mul_mat_glu_cast of two types",
        gated(("Q4_0", "Q8_0"), "swiglu", 70, 128),
        tolerance=ONE_FACTOR,
    ),
]
