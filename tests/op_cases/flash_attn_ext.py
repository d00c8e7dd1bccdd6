"""Attention over paged caches: cache types, head sizes, groups, several sequences, masks, extremes.

The tensor-core kernel rounds K and V of quantised caches to f16, as it decodes them: twice the
error of f16 caches was seen (1.2e-7), and 5e-7 is allowed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from case_data import Draw, normal, values
from cases import Build, Case

from gguf_run.graph import F16, F32, AttentionParams, Graph, Tensor
from gguf_run.kv_cache import PAGE_SIZE, pages_for
from gguf_run.quants import quant_type

ROUNDED = 5e-7


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
    causal: bool = True
    max_bias: float = 0.0
    chunk: int = 0

    @property
    def n_page(self) -> int:
        """Pages of a row of the block table."""
        longest = max(before + new for before, new in self.sequences)
        return pages_for(max(longest, self.n_ctx))

    def build(self, g: Graph) -> Tensor:
        (n_head, n_kv), d_k = self.heads, self.size[0]
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
            AttentionParams(
                self.scale or d_k**-0.5,
                self.window,
                self.softcap,
                self.causal,
                self.max_bias,
                self.chunk,
            ),
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
    *(
        case(f"f32, {n} keys a tile", Attention([(70, 6), (0, 5)], (4, 1), d, ("F32", "F32")))
        for n, d in ((16, (576, 512)), (8, (1000, 130)), (4, (1100, 20)))
    ),
    case("f32, latent, one token", Attention([(150, 1)], (16, 1), (576, 512), ("F32", "F32"))),
    case("f32, odd parts", Attention([(190, 1)], (1, 1), (12, 13), ("F32", "F32"))),
]

SIZES = [(64, 64), (80, 80), (96, 96), (112, 112), (128, 128), (192, 128), (256, 256), (576, 512)]

F16_CACHES = [
    *(
        case(f"f16, {n} keys, group of {group}", Attention([(n - 1, 1)], (2 * group, 2)))
        for n, group in ((1, 1), (63, 3), (64, 5), (65, 7), (66, 16), (130, 20))
    ),
    *(
        case(f"f16, {n} tokens, group of {group}", Attention([(0, n)], (2 * group, 2)))
        for n, group in ((2, 1), (15, 1), (17, 1), (63, 3), (65, 1), (33, 4))
    ),
    *(case(f"f16, one token, heads of {d}", Attention([(99, 1)], size=d)) for d in SIZES),
    *(case(f"f16, chunk, heads of {d}", Attention([(60, 20)], (8, 1), d)) for d in SIZES),
    case("f16, several sequences", several(heads=(6, 2))),
    case("f16, a token of each sequence", Attention([(5, 1), (200, 1), (64, 1)], (6, 2))),
    case("f16, long cache", Attention([(700, 40)], (4, 2), n_ctx=1024)),
    case("f16, long cache, one token", Attention([(700, 1)], (4, 2), n_ctx=4096)),
    case("f16, sinks", several(sinks=True)),
    case("f16, sinks, keys in parts", Attention([(300, 1)], sinks=True)),
    case("f16, softcap", several(softcap=3.0)),
    *(case(f"f16, window of {w}", several(window=w, sinks=w == 1)) for w in (1, 20, 64, 100, 1000)),
    case("f16, window, one token", Attention([(1000, 1)], window=130)),
    case("f16, all at once", several(window=50, softcap=5.0, sinks=True, size=(128, 128))),
]

DECODED_CACHES = [
    *(
        case(f"{k} and {v}, {name}", Attention(sequences, size=size, types=(k, v)))
        for k, v, size in (
            ("Q8_0", "Q8_0", (64, 64)),
            ("Q4_0", "Q4_0", (128, 128)),
            ("Q8_0", "Q4_0", (96, 96)),
            ("F16", "Q8_0", (64, 64)),
            ("Q4_0", "F16", (256, 256)),
        )
        for name, sequences in (("one token", [(130, 1)]), ("several", [(70, 9), (0, 30)]))
    ),
    case("F32 and F16", several(size=(32, 32), types=("F32", "F16"))),
    case("Q8_0, a head size without instance", several(size=(32, 32), types=("Q8_0", "Q4_0"))),
]


def latent(n_before: int, n_tok: int) -> Build:
    """Values are the first 512 columns of the keys, as in latent attention (arXiv:2405.04434)."""

    def build(g: Graph) -> Tensor:
        n_page = pages_for(n_before + n_tok)
        keys = g.cache("k", (n_page, 1, PAGE_SIZE, 576), F16)
        inputs = [g.input(name, (n_tok,)) for name in ("positions", "seq_ids")]
        table = g.input("block_table", (1, n_page))
        q = g.input("q", (n_tok, 16, 576), F32)
        scale = AttentionParams(192**-0.5)
        return g.flash_attn_ext(q, keys, g.view(keys, 0, 512), *inputs, table, scale)

    return build


def of_fused_qkv(start: int) -> Build:
    """Query heads inside wider rows."""

    def build(g: Graph) -> Tensor:
        n_tok = 5
        rows = g.view(g.input("q", (n_tok, 400), F32), start, start + 256)
        caches = [g.cache(name, (1, 2, PAGE_SIZE, 64), F16) for name in "kv"]
        inputs = [g.input(name, (n_tok,)) for name in ("positions", "seq_ids")]
        table = g.input("block_table", (1, 1))
        heads = g.reshape(rows, n_tok, 4, 64)
        return g.flash_attn_ext(heads, *caches, *inputs, table, AttentionParams(0.125))

    return build


def unwritten(n_written: int) -> Draw:
    """A cache whose first sequence has `n_written` rows; NaN in all others."""

    def draw(rng: np.random.Generator, t: Tensor) -> np.ndarray:
        rows = rng.standard_normal(t.shape).astype(np.float32).swapaxes(0, 1)
        rows.reshape(t.shape[1], -1, t.shape[3])[:, n_written:] = np.nan
        return rows.swapaxes(0, 1)

    return draw


def poisoned(n_tok: int, dtype: str, causal: bool = True) -> Case:
    a = Attention([(90 - n_tok, n_tok)], types=(dtype, dtype), n_ctx=256, causal=causal)
    in_order = values(np.arange(a.n_page)[None])
    cache = unwritten(90)
    how = dtype if causal else f"both ways, {dtype}"
    return case(f"{how}, {n_tok} tokens, unwritten rows", a, block_table=in_order, k=cache, v=cache)


VIEWS = [
    *(
        Case(f"flash_attn_ext latent, {n} tokens", latent(100, n), Attention([(100, n)]).data())
        for n in (1, 5)
    ),
    *(
        Case(f"flash_attn_ext q at column {n}", of_fused_qkv(n), Attention([(9, 5)]).data())
        for n in (16, 7)
    ),
]

EXTREMES = [
    *(poisoned(n, dtype) for n in (1, 20) for dtype in ("F16", "F32")),
    case("f16, keys of norm 800", several(), k=normal(0, 100)),
    case("f16, scores up to 10000", several(), q=normal(0, 40), k=normal(0, 40)),
    case("f16, equal scores", several(), k=values(0)),
    case("f16, values up to 60000", several(), v=normal(0, 12000)),
]

BOTH_WAYS = [
    *(
        case(f"both ways, {t}, {name}", several(types=(t, t), causal=False, **options))
        for t in ("F16", "F32")
        for name, options in (
            ("no window", {}),
            *((f"window of {w}", {"window": w}) for w in (1, 2, 40, 41, 1000)),
            ("slopes", {"max_bias": 8.0, "heads": (6, 2)}),
            ("slopes, softcap and window", {"max_bias": 4.0, "softcap": 3.0, "window": 30}),
        )
    ),
    *(
        case(
            f"both ways, {t}, long text", Attention([(0, 150), (0, 3)], types=(t, t), causal=False)
        )
        for t in ("F16", "F32", "Q8_0")
    ),
    case(
        "both ways, long text, window and slopes",
        Attention([(0, 150), (0, 3)], causal=False, window=70, max_bias=8.0),
    ),
    poisoned(70, "F16", causal=False),
    case("both ways, one token", Attention([(90, 1)], causal=False, window=64)),
    case("both ways, wide", Attention([(0, 70)], (2, 1), (256, 256), causal=False, window=20)),
]

CHUNKS = [
    *(
        case(f"chunks of {n}, {t}", several(types=(t, t), chunk=n))
        for t in ("F16", "F32")
        for n in (1, 7, 64, 73, 200)
    ),
    case("chunks, long text", Attention([(0, 200), (0, 3)], chunk=70)),
    case("chunks, one token", Attention([(300, 1)], chunk=96)),
]

SLOPES = [
    *(
        case(f"slopes of {n} heads, {t}", several(heads=(n, kv), types=(t, t), max_bias=8.0))
        for t in ("F16", "F32")
        for n, kv in ((1, 1), (4, 4), (12, 4), (40, 40))
    ),
    case("slopes, one token", Attention([(300, 1)], (8, 8), (128, 128), max_bias=8.0)),
    case("slopes, Q8_0, one token", Attention([(300, 1)], types=("Q8_0", "Q8_0"), max_bias=8.0)),
    case("slopes, wide", Attention([(10, 20)], (4, 1), (576, 512), max_bias=2.0)),
    case("slopes, sinks and softcap", several(max_bias=4.0, sinks=True, softcap=2.0)),
]


def prompts(**options: object) -> Attention:
    """Sequences of a batch that share tiles of query rows."""
    return Attention([(70, 37), (0, 90), (130, 5)], **options)  # type: ignore[arg-type]


PROMPTS = [
    *(
        case(f"prompt, heads of {d}", Attention([(60, 150)], (4, 2), d))
        for d in ((64, 64), (96, 96), (128, 128), (192, 128), (256, 256))
    ),
    *(
        case(f"prompt of {n} tokens", Attention([(0, n)], (4, 1), (128, 128)))
        for n in (32, 33, 63, 64, 65, 97)
    ),
    case("prompt, group of 1", Attention([(0, 260)], (2, 2), (128, 128))),
    case("prompt, group of 7", Attention([(5, 120)], (7, 1), (64, 64))),
    case("prompt, long cache", Attention([(700, 40)], (8, 2), (128, 128), n_ctx=1024)),
    case("prompts", prompts(size=(128, 128))),
    case("prompts, sinks", prompts(size=(64, 64), heads=(8, 1), sinks=True)),
    case("prompts, softcap", prompts(size=(256, 256), softcap=3.0)),
    *(
        case(f"prompts, window of {w}", prompts(size=(128, 128), window=w, sinks=w == 1))
        for w in (1, 20, 64, 100, 130, 1000)
    ),
    case("prompts, all at once", prompts(size=(96, 96), window=50, softcap=5.0, sinks=True)),
    case("prompts, chunks", prompts(size=(128, 128), chunk=70)),
    case("prompts, both ways", prompts(size=(64, 64), causal=False)),
    case("prompts, both ways, window", prompts(size=(128, 128), causal=False, window=41)),
    poisoned(80, "F16"),
    poisoned(75, "F16", causal=False),
]

CASES = [
    *(*F32_CACHES, *F16_CACHES, *DECODED_CACHES, *VIEWS, *EXTREMES),
    *(*BOTH_WAYS, *CHUNKS, *SLOPES, *PROMPTS),
]
