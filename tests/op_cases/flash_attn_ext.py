"""Attention over paged caches: cache types, head sizes, groups, several sequences, masks, extremes.

The f16 tensor-core kernel rounds weights (and dequantised K and V) to f16: NMSE up to 1e-6 is
allowed where it may run; f32 caches keep 1e-7.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from case_data import Draw, normal, values
from cases import Build, Case

from gguf_run.graph import F32, AttentionParams, Graph, Tensor
from gguf_run.kv_cache import PAGE_SIZE, pages_for
from gguf_run.quants import quant_type

ROUNDED = 1e-6


@dataclass(frozen=True, slots=True)
class Attention:
    """Sequences as (tokens before the batch, tokens in the batch)."""

    sequences: Sequence[tuple[int, int]]
    heads: tuple[int, int] = (4, 2)
    size: tuple[int, int] = (64, 64)
    types: tuple[str, str] = ("F16", "F16")
    window: int = 0
    softcap: float = 0.0
    sinks: bool = False
    n_ctx: int = 0
    scale: float = 0.0

    @property
    def n_page(self) -> int:
        """Pages of a row of the block table."""
        longest = max(before + new for before, new in self.sequences)
        return pages_for(max(longest, self.n_ctx))

    def build(self, g: Graph) -> Tensor:
        (n_head, n_kv), (d_k, d_v) = self.heads, self.size
        n_tok = sum(new for _, new in self.sequences)
        n_page = self.n_page * len(self.sequences)
        caches = [
            g.cache(name, (n_page, n_kv, PAGE_SIZE, d), quant_type(t))
            for name, d, t in zip(("k", "v"), self.size, self.types, strict=True)
        ]
        return g.flash_attn_ext(
            g.input("q", (n_tok, n_head, d_k), F32),
            *caches,
            g.input("positions", (n_tok,)),
            g.input("seq_ids", (n_tok,)),
            g.input("block_table", (len(self.sequences), self.n_page)),
            AttentionParams(self.scale or d_k**-0.5, self.window, self.softcap),
            g.weight("sinks", (n_head,), F32) if self.sinks else None,
        )

    def data(self) -> dict[str, Draw]:
        positions = [np.arange(n) + before for before, n in self.sequences]
        ids = [np.full(n, i) for i, (_, n) in enumerate(self.sequences)]
        data = {
            "positions": values(np.concatenate(positions)),
            "seq_ids": values(np.concatenate(ids)),
            "block_table": scattered,
        }
        if self.sinks:
            data["sinks"] = normal()
        return data


def scattered(rng: np.random.Generator, t: Tensor) -> np.ndarray:
    """Pages in random order."""
    return rng.permutation(t.n_elements).reshape(t.shape).astype(np.int32)


def case(name: str, a: Attention, **data: Draw) -> Case:
    exact = "F32" in a.types
    return Case(f"flash_attn_ext {name}", a.build, {**a.data(), **data}, 1e-7 if exact else ROUNDED)


def several(**options: object) -> Attention:
    """Three sequences in one batch: a chunk behind a cache, a new one, a single token."""
    return Attention([(70, 9), (0, 20), (130, 1)], **options)  # type: ignore[arg-type]


F32_CACHES = [
    case("f32, tiny heads, one token", Attention([(5, 1)], (4, 2), (8, 8), ("F32", "F32"))),
    case("f32, tiny heads, prompt", Attention([(0, 37)], (4, 1), (16, 16), ("F32", "F32"))),
    case("f32, several sequences", several(size=(32, 32), types=("F32", "F32"))),
    case(
        "f32, window, softcap and sinks",
        several(size=(32, 32), types=("F32", "F32"), window=40, softcap=2.0, sinks=True),
    ),
    case("f32, odd head size", Attention([(66, 3)], (3, 1), (20, 12), ("F32", "F32"))),
    case("f32, wide values", Attention([(40, 1)], (2, 1), (16, 300), ("F32", "F32"))),
    case("f32, keys in parts", Attention([(300, 1)], (3, 1), (32, 32), ("F32", "F32"))),
]

CASES = [
    *F32_CACHES,
]
