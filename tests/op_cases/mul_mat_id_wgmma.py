"""Products with chosen experts on wgmma: how pairs fall to experts, tiles and blocks.

Tiles have 64 or 160 pairs (`pairs_of_tiles`) and 128 rows, or 64 each of gate and up; the emulated
GPU has eight blocks at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from case_data import Array, Draw
from cases import Case

from gguf_run.cuda.activations import FEW_PAIRS, MIN_WGMMA, pairs_of_tiles
from gguf_run.graph import F32, Graph, Tensor
from gguf_run.quants import quant_type

Projection = Callable[[Graph], Tensor]

TOLERANCE = 1e-6
"""Weights are rounded to f16 there, and gated rows share one factor."""


def shares(counts: Sequence[int], n_used: int = 1) -> tuple[int, Draw]:
    """Tokens, and ids such that expert e has counts[e] pairs, in random order."""
    n_pair = sum(counts)
    assert n_pair % n_used == 0
    assert n_pair >= MIN_WGMMA * n_used, "too few tokens for wgmma"
    assert n_pair > FEW_PAIRS * len(counts), "too few pairs for groups"

    def draw(rng: np.random.Generator, t: Tensor) -> Array:
        ids = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
        return rng.permutation(ids).reshape(t.shape)

    return n_pair // n_used, draw


def product(
    dtype: str, n_expert: int, n_tok: int, n_used: int, n_out: int, n_in: int, own_rows: bool
) -> Projection:
    def build(g: Graph) -> Tensor:
        x = g.input("x", (n_tok, n_used if own_rows else 1, n_in), F32)
        w = g.weight("w", (n_expert, n_out, n_in), quant_type(dtype))
        return g.mul_mat_id(w, x, g.input("ids", (n_tok, n_used)))

    return build


def gated(dtype: str, n_expert: int, n_tok: int, n_used: int, n_ff: int, n_in: int) -> Projection:
    """Gate, up and activation in one launch, through a product that reads what was cast."""

    def build(g: Graph) -> Tensor:
        x = g.input("x", (n_tok, 1, n_in), F32)
        ids, t = g.input("ids", (n_tok, n_used)), quant_type(dtype)
        gate, up = (
            g.mul_mat_id(g.weight(name, (n_expert, n_ff, n_in), t), x, ids)
            for name in ("gate", "up")
        )
        h = g.glu("swiglu", gate, up)
        return g.mul_mat_id(g.weight("down", (n_expert, 24, n_ff), t), h, ids)

    return build


def named(name: str, how: str, build: Projection, ids: Draw) -> Case:
    size = pairs_of_tiles(build(Graph()))
    return Case(f"{name}, tiles of {size}: {how}", build, {"ids": ids}, TOLERANCE)


def case(
    how: str,
    counts: Sequence[int],
    n_out: int = 37,
    n_in: int = 128,
    n_used: int = 1,
    dtype: str = "Q4_0",
    own_rows: bool = False,
) -> Case:
    n_tok, ids = shares(counts, n_used)
    name = f"mul_mat_id on wgmma {dtype}, {n_tok} tokens x {n_used}, {n_in} to {n_out}"
    build = product(dtype, len(counts), n_tok, n_used, n_out, n_in, own_rows)
    return named(name, how, build, ids)


def gated_case(
    how: str, counts: Sequence[int], n_ff: int = 128, n_in: int = 128, n_used: int = 1
) -> Case:
    n_tok, ids = shares(counts, n_used)
    name = f"mul_mat_id_glu on wgmma, {n_tok} tokens x {n_used}, {n_in} to {n_ff}"
    return named(name, how, gated("Q4_0", len(counts), n_tok, n_used, n_ff, n_in), ids)


def one_of(n_expert: int, expert: int, n_pair: int) -> list[int]:
    """All pairs for one expert."""
    return [n_pair * (e == expert) for e in range(n_expert)]


SHARES = {
    "experts with none, one, a full tile and one pair more or less": (0, 64, 65, 1, 63),
    "all on the first of 40, so that most tiles are left over": one_of(40, 0, 161),
    "all on the last of 40": one_of(40, 39, 192),
    "one pair each but for one expert": (1, 1, 1, 1, 1, 1, 1, 120),
    "full tiles and one pair more or less": (160, 161, 159, 320),
    "one pair beside others": (479, 1),
    "one expert alone": (481,),
    "one expert with whole tiles": (320,),
}
UNEVEN = (150, 0, 71, 4, 0)
WIDE = (249, 330)

CASES = [
    *(case(how, counts) for how, counts in SHARES.items()),
    *(gated_case(how, counts) for how, counts in SHARES.items()),
    *(
        case("the last rows", UNEVEN, n, n_used=3, own_rows=n % 2 == 0)
        for n in (1, 2, 127, 128, 129, 770, 1281)
    ),
    *(case("fewer and more steps than stages", UNEVEN, 130, n) for n in (384, 1024, 1280, 2176)),
    *(case("fewer and more steps than stages", WIDE, 130, n) for n in (256, 640, 768)),
    *(gated_case("more tiles than blocks", UNEVEN, n, 640, 3) for n in (384, 1024)),
    gated_case("more tiles than blocks", WIDE, 384, 384, 3),
    *(case("of other types", UNEVEN, 130, 256, 3, t) for t in ("Q8_0", "BF16", "Q6_K")),
]
