"""Positions and attention: RoPE's parameters, windows, grouped-query attention over the cache."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from gguf_run.arch.blocks import Norm, Part, linear, rms_norm
from gguf_run.arch.builder import Builder
from gguf_run.errors import ModelError
from gguf_run.graph import AttentionParams, RopeMode, RopeParams, TemperatureParams, Tensor

# Position


def learned_positions(b: Builder) -> Tensor:
    """Rows of the learned position embedding (n_tok, n_embd)."""
    n_ctx = b.hp.n_ctx_train
    if b.cache.n_ctx > n_ctx:
        raise ModelError(
            f"{b.weights.source}: the model knows {n_ctx} positions, and a context of "
            f"{b.cache.n_ctx} was asked for; lower n_ctx (-c)"
        )
    return b.g.get_rows(b.weight("position_embd.weight", n_ctx, b.hp.n_embd), b.positions)


def rope_params(b: Builder, mode: RopeMode) -> RopeParams:
    """The model's RoPE with its context scaling."""
    hp, scaling = b.hp, b.hp.rope_scaling
    return RopeParams(
        mode=mode,
        n_dims=hp.n_rot,
        freq_base=hp.rope_freq_base,
        freq_scale=scaling.freq_scale,
        ext_factor=scaling.ext_factor,
        attn_factor=scaling.attn_factor,
        n_ctx_orig=scaling.n_ctx_orig,
    )


def has_sections(b: Builder) -> bool:
    """Whether RoPE turns parts of a head by places in an image (arXiv:2409.12191). A text has the
    same position in all parts, which is RoPE over halves of the head."""
    if b.hp.keys.get("rope.dimension_sections") is None:
        return False
    first, second = b.hp.keys.per_layer("rope.dimension_sections", 2, None)
    return first > 0 and second > 0


def rope_factors(b: Builder) -> Tensor | None:
    """Frequency divisors (n_rot / 2,), or None.

    `rope_freqs` (Llama 3.1) serves any context; of LongRoPE's two sets (arXiv:2402.13753) the long
    one serves contexts beyond the original length.
    """
    n = b.hp.n_rot // 2
    factors = b.maybe("rope_freqs.weight", n)
    if factors is not None:
        return factors
    long = b.maybe("rope_factors_long.weight", n)
    short = b.maybe("rope_factors_short.weight", n)
    return long if b.cache.n_ctx > b.hp.rope_scaling.n_ctx_orig else short


# Attention


def attention_params(b: Builder, window: int = 0) -> AttentionParams:
    """Scores over the square root of the head size; the last `window` keys alone, unless 0."""
    return AttentionParams(scale=b.hp.head_dim_k**-0.5, window=window)


def window(b: Builder, il: int, period: int, default: int = 0, first: bool = False) -> int:
    """Keys that layer `il` sees (arXiv:2004.05150), 0 for all.

    Of `period` layers the last one sees all, or the `first`; the file may name another period, or
    say of each layer whether it has a window. `default` is the window where the file names none.
    """
    size = b.hp.window or default
    pattern = b.hp.keys.get("attention.sliding_window_pattern")
    if isinstance(pattern, list | np.ndarray):
        flags = b.hp.keys.per_layer("attention.sliding_window_pattern", b.hp.n_layer, None)
        return size if flags[il] else 0
    period = b.hp.keys.integer("attention.sliding_window_pattern", period)
    return 0 if il % period == (0 if first else period - 1) else size


def window_base(b: Builder, default: float) -> float:
    """RoPE's base in layers with a window."""
    return b.hp.keys.number("rope.freq_base_swa", default, low=1.0)


def window_rope(b: Builder, rope: RopeParams) -> RopeParams:
    """RoPE in layers with a window: with a base of their own, if the file names one, and stretched
    by its factor even where its kind of stretching is "none", as llama.cpp has it."""
    base, factor = window_base(b, rope.freq_base), b.hp.rope_scaling.factor
    return replace(rope, freq_base=base, freq_scale=1 / factor)


def local_rope(b: Builder, rope: RopeParams) -> RopeParams:
    """RoPE in layers with a window: not stretched, with a base of their own."""
    return replace(rope, freq_base=window_base(b, 10000.0), freq_scale=1.0)


def qkv(b: Builder, x: Tensor, il: int) -> tuple[Tensor, Tensor, Tensor]:
    """Projections of x: q (n_tok, n_head * d_k), k (n_tok, n_head_kv * d_k), v (.., d_v).

    The file holds three matrices or one, `attn_qkv`, with q's rows first.
    """
    hp = b.hp
    n_q, n_kv = hp.n_head[il], hp.n_head_kv[il]
    widths = (n_q * hp.head_dim_k, n_kv * hp.head_dim_k, n_kv * hp.head_dim_v)
    fused = f"blk.{il}.attn_qkv"
    if b.has(f"{fused}.weight"):
        all_three = linear(b, x, fused, sum(widths))
        ends = (widths[0], widths[0] + widths[1], sum(widths))
        starts = (0, *ends[:2])
        q, k, v = (b.g.view(all_three, i, j) for i, j in zip(starts, ends, strict=True))
    else:
        q, k, v = (
            linear(b, x, f"blk.{il}.attn_{name}", width)
            for name, width in zip("qkv", widths, strict=True)
        )
    return q, k, v


def heads(b: Builder, x: Tensor, head_dim: int) -> Tensor:
    """(n_tok, n_head * head_dim) as (n_tok, n_head, head_dim)."""
    return b.g.reshape(x, x.shape[0], x.shape[1] // head_dim, head_dim)


def split_heads(b: Builder, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """q, k and v as heads of the model's sizes."""
    d_k, d_v = b.hp.head_dim_k, b.hp.head_dim_v
    return heads(b, q, d_k), heads(b, k, d_k), heads(b, v, d_v)


def qkv_heads(b: Builder, x: Tensor, il: int) -> tuple[Tensor, Tensor, Tensor]:
    """Projections of x to heads: q (n_tok, n_head, d_k), k (n_tok, n_head_kv, d_k), v (.., d_v)."""
    return split_heads(b, *qkv(b, x, il))


def head_norms(
    b: Builder, q: Tensor, k: Tensor, il: int, norm: Norm = rms_norm
) -> tuple[Tensor, Tensor]:
    """q and k normalised over their last dimension, where the file has the weights for that."""
    if not b.has(f"blk.{il}.attn_q_norm.weight"):
        return q, k
    return norm(b, q, f"blk.{il}.attn_q_norm"), norm(b, k, f"blk.{il}.attn_k_norm")


def attend(b: Builder, q: Tensor, k: Tensor, v: Tensor, il: int, params: AttentionParams) -> Tensor:
    """Append k and v to the cache and attend -> (n_tok, n_head * d_v).

    A layer with `attn_sinks` has a sink a head. Every key is seen where the file says so.
    """
    g, n_kv, window = b.g, k.shape[1], params.window
    if params.causal and not b.hp.causal:
        if window:
            raise ModelError(
                f"{b.weights.source}: key {b.hp.arch}.attention.causal: expected true in a model "
                "whose layers see a window, found false; that is not supported"
            )
        params = replace(params, causal=False)
    slots, table = b.slots(window), b.block_table(window)
    keys = g.set_rows(b.cache_k(il, n_kv, k.shape[2], window), k, slots)
    values = g.set_rows(b.cache_v(il, n_kv, v.shape[2], window), v, slots)
    sinks = b.maybe(f"blk.{il}.attn_sinks.weight", q.shape[1])
    found = g.flash_attn_ext(q, keys, values, b.positions, b.seq_ids, table, params, sinks)
    return g.reshape(found, q.shape[0], q.shape[1] * v.shape[2])


def times_heads(b: Builder, x: Tensor, factors: Tensor) -> Tensor:
    """Heads x (n_tok, n_head * d) times a factor each (n_tok, n_head)."""
    n, (n_tok, width) = factors.n_elements, x.shape
    each = b.g.reshape(x, n, 1, n_tok * width // n)
    return b.g.reshape(b.g.moe_sum(each, b.g.reshape(factors, n, 1)), n_tok, width)


def attention(
    b: Builder,
    x: Tensor,
    il: int,
    rope: RopeParams | None,
    factors: Tensor | None = None,
    params: AttentionParams | None = None,
    norm: Norm = rms_norm,
) -> Tensor:
    """Grouped-query attention (arXiv:2305.13245), q and k normalised by head where the file says.

    `rope` None leaves q and k without positions (arXiv:2501.18795).
    """
    q, k, v = qkv_heads(b, x, il)
    q, k = head_norms(b, q, k, il, norm)
    return rotate_and_attend(b, q, k, v, il, rope, factors, params)


def clamped_attention(b: Builder, x: Tensor, il: int, rope: RopeParams) -> Tensor:
    """As `attention`, with q, k and v kept between -c and c where the file names a c."""
    limit = b.hp.keys.number("attention.clamp_kqv", 0.0)
    q, k, v = (b.g.clamp(t, limit) if limit else t for t in qkv(b, x, il))
    q, k, v = split_heads(b, q, k, v)
    return rotate_and_attend(b, q, k, v, il, rope)


def wide_norm_attention(
    b: Builder,
    x: Tensor,
    il: int,
    rope: RopeParams | None,
    params: AttentionParams | None = None,
) -> Tensor:
    """As `attention`, but q and k are normalised over all heads at once."""
    q, k, v = qkv(b, x, il)
    q, k = head_norms(b, q, k, il)
    q, k, v = split_heads(b, q, k, v)
    return rotate_and_attend(b, q, k, v, il, rope, None, params)


def temperature(b: Builder) -> TemperatureParams | None:
    """How scores grow with the position, where the file says that they do."""
    growth = b.hp.keys.number("attention.temperature_scale", 0.0)
    if not growth:
        return None
    n_ctx_orig = b.hp.rope_scaling.n_ctx_orig
    length = b.hp.keys.integer("attention.temperature_length", n_ctx_orig, high=1 << 31)
    return TemperatureParams(growth, length)


def warmed(b: Builder, q: Tensor) -> Tensor:
    """Queries times the temperature of their positions, where the file names one."""
    params = temperature(b)
    return q if params is None else b.g.scale_by_position(q, b.positions, params)


def rotate_and_attend(
    b: Builder,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    il: int,
    rope: RopeParams | None,
    factors: Tensor | None = None,
    params: AttentionParams | None = None,
) -> Tensor:
    """From heads to the output projection (n_tok, n_embd)."""
    if rope is not None:
        q = b.g.rope(q, b.positions, rope, factors)
        k = b.g.rope(k, b.positions, rope, factors)
    merged = attend(b, q, k, v, il, params or attention_params(b))
    return linear(b, merged, f"blk.{il}.attn_output", b.hp.n_embd)


def roped(b: Builder, mode: RopeMode, factors: Tensor | None = None) -> Part:
    """`attention` with the model's RoPE in all layers."""
    return partial(attention, rope=rope_params(b, mode), factors=factors)


def windowed(
    rope: RopeParams | None,
    local: RopeParams,
    params: Callable[[int], AttentionParams],
    factors: Tensor | None = None,
) -> Part:
    """`attention` where some layers have a window: these turn q and k by `local`, the others by
    `rope`; `params(il)` are those of a layer."""

    def part(b: Builder, x: Tensor, il: int) -> Tensor:
        of_layer = params(il)
        return attention(b, x, il, local if of_layer.window else rope, factors, of_layer)

    return part
