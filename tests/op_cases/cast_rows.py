"""Casts for tensor cores fused with the norms and gated units ahead, seen through products."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from case_data import normal, values
from cases import Build, Case

from gguf_run.cuda.activations import MIN_WGMMA
from gguf_run.graph import F16, F16_SCALED, F32, GLU_OPS, GluParams, Graph, Tensor
from gguf_run.quants import QuantType

N_TOK = 3


def product(g: Graph, x: Tensor, form: QuantType, name: str = "w") -> Tensor:
    return g.mul_mat(g.weight(name, (16, x.shape[-1]), F16), g.cast(x, form))


def weighted(g: Graph, x: Tensor, eps: float = 1e-6) -> Tensor:
    return g.mul(g.rms_norm(x, eps), g.weight("scale", x.shape[-1:], F32))


def norm(form: QuantType, n_col: int, eps: float = 1e-6) -> Build:
    def build(g: Graph) -> Tensor:
        return product(g, weighted(g, g.input("x", (N_TOK, n_col), F32), eps), form)

    return build


def norm_that_others_read(form: QuantType) -> Build:
    """A router takes the norm as f32."""

    def build(g: Graph) -> Sequence[Tensor]:
        x = weighted(g, g.input("x", (N_TOK, 128), F32))
        return product(g, x, form), g.mul_mat(g.weight("router", (8, 128), F32), x)

    return build


def norm_of_view(form: QuantType, start: int) -> Build:
    def build(g: Graph) -> Tensor:
        x = g.view(g.input("x", (N_TOK, 300), F32), start, start + 256)
        return product(g, weighted(g, x), form)

    return build


def norm_of_a_slice(form: QuantType) -> Build:
    """What is cast is a part of what was normalised."""

    def build(g: Graph) -> Tensor:
        x = weighted(g, g.input("x", (N_TOK, 256), F32))
        return product(g, g.view(x, 0, 128), form)

    return build


def gated(g: Graph, op: str, gate: Tensor, up: Tensor) -> Tensor:
    if op == "swiglu_oai":
        return g.swiglu_oai(gate, up, GluParams(alpha=1.702, limit=7.0))
    return g.glu(op, gate, up)


def glu(form: QuantType, op: str, n_col: int) -> Build:
    def build(g: Graph) -> Tensor:
        sources = (g.input(name, (N_TOK, n_col), F32) for name in ("gate", "up"))
        return product(g, gated(g, op, *sources), form)

    return build


def glu_of_fused_row(form: QuantType, start: int) -> Build:
    def build(g: Graph) -> Tensor:
        x = g.input("x", (N_TOK, 300), F32)
        ends = (start, start + 128, start + 256)
        gate, up = (g.view(x, i, j) for i, j in pairwise(ends))
        return product(g, g.glu("swiglu", gate, up), form)

    return build


def glu_of_experts(form: QuantType) -> Build:
    """Rows of chosen experts are cast as they are, and seen in another shape."""

    def build(g: Graph) -> Tensor:
        sources = (g.input(name, (N_TOK, 2, 128), F32) for name in ("gate", "up"))
        x = g.reshape(g.cast(g.glu("swiglu", *sources), form), 2 * N_TOK, 128)
        return g.mul_mat(g.weight("w", (16, 128), F16), x)

    return build


def of_form(form: QuantType, sizes: Sequence[int]) -> list[Case]:
    name, large = form.name, {"scale": normal(100, 30)}
    return [
        *(
            Case(f"rms_norm_mul_cast {N_TOK}x{n} to {name}", norm(form, n), large)
            for n in (*sizes, 8192 + 128)
        ),
        Case(f"rms_norm_mul_cast, norm kept, to {name}", norm_that_others_read(form)),
        *(
            Case(f"rms_norm_mul_cast from column {i} to {name}", norm_of_view(form, i))
            for i in (8, 3)
        ),
        Case(f"rms_norm_mul_cast of a slice to {name}", norm_of_a_slice(form)),
        Case(f"rms_norm_mul_cast zeros to {name}", norm(form, 128), {"x": values(0)}),
        Case(f"rms_norm_mul_cast large to {name}", norm(form, 128), {"x": normal(0, 1e17)}),
        Case(f"rms_norm_mul_cast tiny to {name}", norm(form, 128, 0.0), {"x": normal(0, 1e-15)}),
        *(
            Case(f"glu_cast {op} {N_TOK}x{n} to {name}", glu(form, op, n), {"gate": normal(0, 4)})
            for op in (*GLU_OPS, "swiglu_oai")
            for n in sizes[:2]
        ),
        Case(f"glu_cast of long rows to {name}", glu(form, "swiglu", 14336 + 128)),
        *(Case(f"glu_cast from column {i} to {name}", glu_of_fused_row(form, i)) for i in (8, 3)),
        Case(f"glu_cast of experts to {name}", glu_of_experts(form)),
    ]


def wide_norm(n_col: int) -> Build:
    """As many tokens as come in tiles, where there is wgmma."""

    def build(g: Graph) -> Tensor:
        x = weighted(g, g.input("x", (MIN_WGMMA + 3, n_col), F32))
        return g.mul_mat(g.weight("w", (16, n_col), F16), x)

    return build


def wide_glu(op: str, n_col: int) -> Build:
    def build(g: Graph) -> Tensor:
        sources = (g.input(name, (MIN_WGMMA, n_col), F32) for name in ("gate", "up"))
        return g.mul_mat(g.weight("w", (16, n_col), F16), gated(g, op, *sources))

    return build


CASES = [
    *of_form(F16_SCALED, (160, 1024, 32)),
    *(Case(f"rms_norm_mul_cast wide x{n}", wide_norm(n)) for n in (128, 640)),
    *(Case(f"glu_cast {op} wide", wide_glu(op, 384)) for op in (*GLU_OPS, "swiglu_oai")),
]
