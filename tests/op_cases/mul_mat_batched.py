"""A product a head: every kind of weight, few and many tokens, slices of heads."""

from __future__ import annotations

from cases import Build, Case

from gguf_run.graph import F32, Graph, Tensor
from gguf_run.quants import quant_type

TYPES = ("F32", "F16", "BF16", "Q8_0", "Q4_0", "Q5_1", "Q6_K", "IQ4_XS", "MXFP4")


def heads(dtype: str, n_tok: int, n_head: int, n_out: int, n_in: int, start: int = 0) -> Build:
    """x is a slice of wider heads where it does not start at 0."""

    def build(g: Graph) -> Tensor:
        x = g.input("x", (n_tok, n_head, n_in + 2 * start), F32)
        w = g.weight("w", (n_head, n_out, n_in), quant_type(dtype))
        return g.mul_mat_batched(w, g.view(x, start, start + n_in))

    return build


def case(dtype: str, n_tok: int, n_head: int, n_out: int, n_in: int, start: int = 0) -> Case:
    at = f" from {start}" if start else ""
    name = f"mul_mat_batched {dtype} {n_head}x{n_out}x{n_in}, {n_tok} tokens{at}"
    return Case(name, heads(dtype, n_tok, n_head, n_out, n_in, start))


CASES = [
    *(case(t, n, 3, 37, 256) for t in TYPES for n in (1, 3, 9)),
    *(
        case(t, n, 2, 70, 128, start=s)
        for t in ("F32", "F16", "Q8_0")
        for n in (5, 70)
        for s in (4, 3)
    ),
    *(case(t, n, 4, 9, 33) for t in ("F32", "F16") for n in (2, 8, 12)),
    case("Q8_0", 1, 16, 512, 128),
]
