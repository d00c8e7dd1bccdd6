"""Attention of one token with the append of its key and value, in one kernel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from appended_heads import appended, weights_of_heads
from case_data import Draw, values
from cases import Case

from gguf_run.graph import F32, AttentionParams, Graph, RopeMode, RopeParams, Tensor
from gguf_run.kv_cache import PAGE_SIZE, pages_for
from op_cases.flash_attn_ext import unwritten

TOLERANCE = {"F16": 1e-6, "Q8_0": 1e-5}
"""A key or value that falls between two steps of the cache's type may be rounded the other way."""


@dataclass(frozen=True, slots=True)
class Decode:
    """One token behind `position` others."""

    position: int
    heads: tuple[int, int] = (4, 2)
    size: int = 64
    cache: str = "F16"
    norms: bool = False
    mode: RopeMode = RopeMode.NEOX
    n_rot: int = 0
    factors: bool = False
    window: int = 0
    softcap: float = 0.0
    sinks: bool = False
    n_ctx: int = 0
    fused_qkv: bool = False
    causal: bool = True
    max_bias: float = 0.0

    @property
    def n_page(self) -> int:
        return pages_for(max(self.position + 1, self.n_ctx))

    def build(self, g: Graph) -> Tensor:
        n_head, size = self.heads[0], self.size
        rope = RopeParams(self.mode, self.n_rot or size, 1e4)
        q, keys, cached, positions = appended(
            g, self._rows(g), rope, self.cache, self.n_page, self.norms, self.factors
        )
        return g.flash_attn_ext(
            q,
            keys,
            cached,
            positions,
            g.input("seq_ids", (1,)),
            g.input("block_table", (1, self.n_page)),
            AttentionParams(size**-0.5, self.window, self.softcap, self.causal, self.max_bias),
            g.weight("sinks", (n_head,), F32) if self.sinks else None,
        )

    def _rows(self, g: Graph) -> list[Tensor]:
        (n_head, n_kv), size = self.heads, self.size
        counts = (n_head, n_kv, n_kv)
        if not self.fused_qkv:
            return [g.input(n, (1, c, size), F32) for n, c in zip("qkv", counts, strict=True)]
        rows = g.input("qkv", (1, sum(counts) * size), F32)
        starts = np.cumsum([0, *counts]) * size
        return [
            g.reshape(g.view(rows, int(start), int(start) + n * size), 1, n, size)
            for start, n in zip(starts, counts, strict=False)
        ]

    def data(self) -> dict[str, Draw]:
        pages = np.random.default_rng(1).permutation(self.n_page)
        page = pages[self.position // PAGE_SIZE]
        data = {
            "positions": values([self.position]),
            "slots": values([page * PAGE_SIZE + self.position % PAGE_SIZE]),
            "seq_ids": values([0]),
            "block_table": values(pages[None]),
        }
        return data | weights_of_heads(self.norms, self.factors)


def case(name: str, d: Decode, **data: Draw) -> Case:
    return Case(f"attn_decode {name}", d.build, {**d.data(), **data}, TOLERANCE[d.cache])


def unwritten_rows(position: int) -> Case:
    """What no token has written yet may be anything."""
    d = Decode(position, n_ctx=1024)
    places = {"slots": values([position]), "block_table": values(np.arange(d.n_page)[None])}
    caches = {"k_cache": unwritten(position), "v_cache": unwritten(position)}
    return case(f"unwritten rows at {position}", d, **places, **caches)


LONG = {"n_ctx": 1024}

CASES = [
    *(case(f"at {n}", Decode(n)) for n in (0, 1, 63, 64, 127, 128, 300)),
    *(
        case(f"{cache}, heads of {size} at {n}", Decode(n, size=size, cache=cache, norms=True))
        for cache in ("F16", "Q8_0")
        for size in (64, 96, 128, 256)
        for n in (70, 130)
    ),
    *(
        case(f"{cache}, {h} heads of {size} at {n}", Decode(n, h, size, cache, **LONG))  # type: ignore[arg-type]
        for cache in ("F16", "Q8_0")
        for h, size, n in (
            ((2, 2), 64, 500),
            ((4, 2), 128, 401),
            ((8, 2), 128, 800),
            ((7, 1), 64, 700),
            ((8, 1), 256, 600),
            ((4, 1), 96, 600),
            ((8, 2), 64, 100),
        )
    ),
    *(
        case(f"{cache}, heads of {size}, many tiles a part", Decode(n, (4, 2), size, cache))
        for cache, size, n in (("F16", 64, 2999), ("F16", 128, 2048), ("Q8_0", 128, 2100))
    ),
    case("more sets than blocks", Decode(500, (40, 40), 64)),
    case("neighbouring pairs", Decode(40, mode=RopeMode.NORM, n_rot=32)),
    case("frequency factors", Decode(40, factors=True, norms=True)),
    case("window", Decode(200, window=50)),
    case("window, keys in parts", Decode(900, window=450)),
    case("window of one", Decode(90, window=1)),
    case("softcap and sinks", Decode(200, softcap=2.0, sinks=True)),
    case("softcap and sinks, keys in parts", Decode(600, softcap=2.0, sinks=True, **LONG)),  # type: ignore[arg-type]
    *(unwritten_rows(n) for n in (90, 600)),
    case("slopes, in steps", Decode(90, max_bias=8.0)),
    case("both ways, in steps", Decode(90, causal=False)),
    case("fused qkv", Decode(90, (8, 2), 64, fused_qkv=True)),
    case("fused qkv and norms", Decode(90, (8, 2), 64, fused_qkv=True, norms=True)),
]
