"""Attention of many tokens with the norms, rotations and appends ahead of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from appended_heads import appended, weights_of_heads
from case_data import Draw, values
from cases import Case

from gguf_run.graph import F16, F32, AttentionParams, Graph, RopeMode, RopeParams, Tensor
from gguf_run.kv_cache import PAGE_SIZE, pages_for

TOLERANCE = {"F32": 1e-7, "F16": 1e-6, "Q8_0": 1e-5, "Q4_0": 1e-3}
"""A key or value that falls between two steps of the cache's type may be rounded the other way."""


@dataclass(frozen=True, slots=True)
class Append:
    """`n_tok` tokens of one sequence behind `n_past` others."""

    n_tok: int = 5
    n_past: int = 60
    heads: tuple[int, int] = (4, 2)
    size: int = 64
    cache: str = "F16"
    norms: bool = False
    wide_norms: bool = False
    """All heads of a token are normalised as one row."""
    mode: RopeMode = RopeMode.NEOX
    n_rot: int = 0
    factors: bool = False
    start: int | None = None
    """Column from which on rows hold q, k and v; None: each apart."""
    behind: bool = False
    """A product takes what comes out."""

    @property
    def n_page(self) -> int:
        return pages_for(self.n_past + self.n_tok)

    def build(self, g: Graph) -> Sequence[Tensor]:
        rope = RopeParams(self.mode, self.n_rot or self.size, 1e4)
        rows = self._rows(g)
        if self.wide_norms:
            rows[:2] = (self._normed(g, name, x) for name, x in zip("qk", rows, strict=False))
        q, keys, cached, positions = appended(
            g, rows, rope, self.cache, self.n_page, self.norms, self.factors
        )
        table = g.input("block_table", (1, self.n_page))
        params = AttentionParams(self.size**-0.5)
        found = g.flash_attn_ext(
            q, keys, cached, positions, g.input("seq_ids", (self.n_tok,)), table, params
        )
        if not self.behind:
            return [found]
        n_in = self.heads[0] * self.size
        return [g.mul_mat(g.weight("w", (16, n_in), F16), g.reshape(found, self.n_tok, n_in))]

    def _normed(self, g: Graph, name: str, x: Tensor) -> Tensor:
        n_col = x.n_elements // self.n_tok
        normed = g.rms_norm(g.reshape(x, self.n_tok, n_col), 1e-6)
        scaled = g.mul(normed, g.weight(f"{name}_scale", (n_col,), F32))
        return g.reshape(scaled, *x.shape)

    def _rows(self, g: Graph) -> list[Tensor]:
        (n_head, n_kv), size = self.heads, self.size
        counts = (n_head, n_kv, n_kv)
        if self.start is None:
            return [
                g.input(name, (self.n_tok, n, size), F32)
                for name, n in zip("qkv", counts, strict=True)
            ]
        rows = g.input("qkv", (self.n_tok, sum(counts) * size + 12), F32)
        starts = self.start + np.cumsum([0, *counts[:2]]) * size
        return [
            g.reshape(g.view(rows, int(i), int(i) + n * size), self.n_tok, n, size)
            for i, n in zip(starts, counts, strict=True)
        ]

    def data(self) -> dict[str, Draw]:
        pages = np.random.default_rng(1).permutation(self.n_page)
        positions = np.arange(self.n_past, self.n_past + self.n_tok)
        slots = pages[positions // PAGE_SIZE] * PAGE_SIZE + positions % PAGE_SIZE
        data = {
            "positions": values(positions),
            "slots": values(slots),
            "seq_ids": values(0),
            "block_table": values(pages[None]),
        }
        return data | weights_of_heads(self.norms, self.factors)


def case(name: str, a: Append) -> Case:
    return Case(f"flash_attn_append {name}", a.build, a.data(), TOLERANCE[a.cache])


NORM = RopeMode.NORM

CASES = [
    *(
        case(f"{cache}, heads of {size}", Append(size=size, cache=cache, norms=True))
        for cache in TOLERANCE
        for size in (32, 64, 96, 128, 256)
    ),
    *(
        case(f"neighbouring pairs, heads of {n}", Append(size=n, mode=NORM))
        for n in (64, 80, 128, 256)
    ),
    case("a part turns", Append(size=128, n_rot=64)),
    case("a part of neighbouring pairs turns", Append(size=128, n_rot=36, mode=NORM)),
    case("a part of large heads turns", Append(size=256, n_rot=64, norms=True)),
    case("frequency factors", Append(size=128, factors=True)),
    case("rows of q, k and v", Append(size=128, start=8, norms=True)),
    case("rows that can't be loaded by four", Append(size=64, start=3)),
    case("heads that no lanes share", Append(size=160)),
    case("odd heads", Append(heads=(7, 1), size=128, norms=True)),
    case("odd small heads", Append(heads=(7, 7), size=64, norms=True)),
    case("many tokens", Append(n_tok=300, n_past=3, heads=(2, 1), size=64)),
    *(
        case(f"cast, heads of {size}", Append(70, 0, (2 * n, n), size, behind=True))
        for size, n in ((64, 40), (128, 40), (256, 36), (96, 40))
    ),
    case("cast, odd tiles", Append(131, 3, (66, 33), 64, behind=True, norms=True)),
    *(case(f"norms of whole rows, {n} tokens", Append(n, wide_norms=True)) for n in (1, 5)),
    case("two tokens", Append(n_tok=2, heads=(16, 8), size=128, norms=True)),
]
