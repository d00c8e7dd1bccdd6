"""RoPE: both modes, partial heads, YaRN, frequency factors, views, far positions."""

from __future__ import annotations

from case_data import Draw, integers, normal, values
from cases import Build, Case

from gguf_run.graph import F32, Graph, RopeMode, RopeParams, Tensor

FAR = integers(0, 131072)
YARN = RopeParams(RopeMode.NEOX, 64, 1e6, 0.25, 1.0, 1.0, n_ctx_orig=32768)


def rope(
    n_tok: int, n_head: int, head_dim: int, params: RopeParams, factors: bool = False
) -> Build:
    def build(g: Graph) -> Tensor:
        x = g.input("x", (n_tok, n_head, head_dim), F32)
        divisors = g.weight("factors", (params.n_dims // 2,), F32) if factors else None
        return g.rope(x, g.input("positions", (n_tok,)), params, divisors)

    return build


def rope_of_fused_qkv(n_tok: int, start: int) -> Build:
    """Three heads of 20 elements inside rows of 100, as a fused projection gives them."""

    def build(g: Graph) -> Tensor:
        rows = g.view(g.input("x", (n_tok, 100), F32), start, start + 60)
        heads = g.reshape(rows, n_tok, 3, 20)
        return g.rope(heads, g.input("positions", (n_tok,)), RopeParams(RopeMode.NORM, 20, 1e4))

    return build


def case(name: str, build: Build, **data: Draw) -> Case:
    return Case(f"rope {name}", build, {"positions": FAR, **data})


NORM, NEOX = RopeMode.NORM, RopeMode.NEOX

CASES = [
    case("norm, one token", rope(1, 4, 128, RopeParams(NORM, 128, 5e5))),
    case("neox, one token", rope(1, 9, 128, RopeParams(NEOX, 128, 1e6))),
    case("norm, tiny heads", rope(5, 3, 8, RopeParams(NORM, 8, 1e4))),
    case("norm, part of the head", rope(7, 2, 80, RopeParams(NORM, 32, 1e4))),
    case("neox, part of the head", rope(33, 2, 96, RopeParams(NEOX, 48, 1e4))),
    case("neox, more heads than a block takes", rope(3, 11, 256, RopeParams(NEOX, 256, 1e4))),
    case("linear scaling", rope(4, 2, 64, RopeParams(NORM, 64, 1e4, freq_scale=0.125))),
    case("yarn", rope(9, 2, 64, YARN)),
    case(
        "yarn, half mixed in", rope(9, 2, 64, RopeParams(NORM, 64, 1e4, 0.1, 0.5, n_ctx_orig=4096))
    ),
    case(
        "frequency factors",
        rope(6, 2, 64, RopeParams(NEOX, 64, 1e4, attn_factor=1.19), factors=True),
        factors=normal(8, 2),
    ),
    case("first position", rope(2, 2, 64, YARN), positions=values(0)),
    case("view at an even column", rope_of_fused_qkv(1, 40)),
    case("view at an odd column", rope_of_fused_qkv(13, 7)),
]
