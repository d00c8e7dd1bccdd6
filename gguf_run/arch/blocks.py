"""The parts that architectures are made of: embedding, norms, attention, feed-forward, head."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gguf_run.arch.builder import Builder
from gguf_run.graph import AttentionParams, RopeMode, RopeParams, Tensor

Norm = Callable[[Builder, Tensor, str], Tensor]
"""(builder, x, name of the tensors) -> x normalised over its last dimension."""

Part = Callable[[Builder, Tensor, int], Tensor]
"""(builder, x (n_tok, n_embd), layer) -> (n_tok, n_embd): an attention or a feed-forward."""


def embed(b: Builder, scale: float = 1.0) -> Tensor:
    """Rows of the embedding for the batch's tokens, times `scale`: (n_tok, n_embd)."""
    table = b.weight("token_embd.weight", b.hp.n_vocab, b.hp.n_embd)
    return scaled(b, b.g.get_rows(table, b.tokens), scale)


def scaled(b: Builder, x: Tensor, factor: float) -> Tensor:
    """x times `factor`; x itself where that is 1, or 0, which files mean 1 by."""
    return x if factor in (0.0, 1.0) else b.g.scale(x, factor)


def rms_norm(b: Builder, x: Tensor, name: str) -> Tensor:
    """RMS norm over the last dimension, times the weight `<name>.weight`."""
    normed = b.g.rms_norm(x, b.hp.norm_rms_eps)
    return b.g.mul(normed, b.weight(f"{name}.weight", x.shape[-1]))


def layer_norm(b: Builder, x: Tensor, name: str) -> Tensor:
    """Layer norm over the last dimension, times the weight, plus the bias where there is one."""
    normed = b.g.norm(x, b.hp.norm_eps)
    normed = b.g.mul(normed, b.weight(f"{name}.weight", x.shape[-1]))
    bias = b.maybe(f"{name}.bias", x.shape[-1])
    return normed if bias is None else b.g.add(normed, bias)


def linear(b: Builder, x: Tensor, name: str, n_out: int) -> Tensor:
    """x @ w.T, plus the bias where the file has one."""
    y = b.g.mul_mat(b.weight(f"{name}.weight", n_out, x.shape[-1]), x)
    bias = b.maybe(f"{name}.bias", n_out)
    return y if bias is None else b.g.add(y, bias)


# Position


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


def window(b: Builder, il: int, period: int, default: int = 0) -> int:
    """Keys that layer `il` sees (arXiv:2004.05150), 0 for all.

    Of `period` layers the last one sees all; the file may name another period, or say of each layer
    whether it has a window. `default` is the window where the file names none.
    """
    size = b.hp.keys.integer("attention.sliding_window", default, low=0)
    pattern = b.hp.keys.get("attention.sliding_window_pattern")
    if isinstance(pattern, list | np.ndarray):
        flags = b.hp.keys.per_layer("attention.sliding_window_pattern", b.hp.n_layer, None)
        return size if flags[il] else 0
    period = b.hp.keys.integer("attention.sliding_window_pattern", period)
    return 0 if il % period == period - 1 else size


def window_base(b: Builder, default: float) -> float:
    """RoPE's base in layers with a window."""
    return b.hp.keys.number("rope.freq_base_swa", default, low=1.0)


def qkv(b: Builder, x: Tensor, il: int) -> tuple[Tensor, Tensor, Tensor]:
    """Projections of x: q (n_tok, n_head * d_k), k (n_tok, n_head_kv * d_k), v (.., d_v).

    The file holds three matrices or one, `attn_qkv`, with q's rows first.
    """
    hp = b.hp
    n_q, n_kv = hp.n_head[il], hp.n_head_kv[il]
    widths = (n_q * hp.head_dim_k, n_kv * hp.head_dim_k, n_kv * hp.head_dim_v)
    fused = f"blk.{il}.attn_qkv"
    if f"{fused}.weight" in b.weights.tensors:
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


def qkv_heads(b: Builder, x: Tensor, il: int) -> tuple[Tensor, Tensor, Tensor]:
    """Projections of x to heads: q (n_tok, n_head, d_k), k (n_tok, n_head_kv, d_k), v (.., d_v)."""
    q, k, v = qkv(b, x, il)
    d_k, d_v = b.hp.head_dim_k, b.hp.head_dim_v
    return heads(b, q, d_k), heads(b, k, d_k), heads(b, v, d_v)


def head_norms(
    b: Builder, q: Tensor, k: Tensor, il: int, norm: Norm = rms_norm
) -> tuple[Tensor, Tensor]:
    """q and k normalised over their last dimension, where the file has the weights for that."""
    if f"blk.{il}.attn_q_norm.weight" not in b.weights.tensors:
        return q, k
    return norm(b, q, f"blk.{il}.attn_q_norm"), norm(b, k, f"blk.{il}.attn_k_norm")


def attend(b: Builder, q: Tensor, k: Tensor, v: Tensor, il: int, params: AttentionParams) -> Tensor:
    """Append k and v to the cache and attend -> (n_tok, n_head * d_v).

    A layer with `attn_sinks` has a sink a head.
    """
    g, n_kv = b.g, k.shape[1]
    keys = g.set_rows(b.cache_k(il, n_kv, k.shape[2]), k, b.slots)
    values = g.set_rows(b.cache_v(il, n_kv, v.shape[2]), v, b.slots)
    sinks = b.maybe(f"blk.{il}.attn_sinks.weight", q.shape[1])
    found = g.flash_attn_ext(q, keys, values, b.positions, b.seq_ids, b.block_table, params, sinks)
    return g.reshape(found, q.shape[0], q.shape[1] * v.shape[2])


def attention(
    b: Builder,
    x: Tensor,
    il: int,
    rope: RopeParams | None,
    factors: Tensor | None = None,
    params: AttentionParams | None = None,
) -> Tensor:
    """Grouped-query attention (arXiv:2305.13245), with q/k norms where the file has them.

    `rope` None leaves q and k without positions (arXiv:2501.18795).
    """
    q, k, v = qkv_heads(b, x, il)
    q, k = head_norms(b, q, k, il)
    if rope is not None:
        q = b.g.rope(q, b.positions, rope, factors)
        k = b.g.rope(k, b.positions, rope, factors)
    merged = attend(b, q, k, v, il, params or attention_params(b))
    return linear(b, merged, f"blk.{il}.attn_output", b.hp.n_embd)


# Feed-forward


def ffn(b: Builder, x: Tensor, il: int, glu: str = "swiglu") -> Tensor:
    """Gated feed-forward of layer `il`."""
    return gated_ffn(b, x, f"blk.{il}.ffn", b.hp.n_ff[il], glu)


def gated_ffn(
    b: Builder, x: Tensor, name: str, n_ff: int, glu: str = "swiglu", suffix: str = ""
) -> Tensor:
    """down(act(gate(x)) * up(x)) with the tensors `<name>_gate<suffix>` and so on.

    Without a gate the rows of the up projection hold the gate first, then the up projection.
    """
    if f"{name}_gate{suffix}.weight" in b.weights.tensors:
        gate = linear(b, x, f"{name}_gate{suffix}", n_ff)
        up = linear(b, x, f"{name}_up{suffix}", n_ff)
    else:
        both = linear(b, x, f"{name}_up{suffix}", 2 * n_ff)
        gate, up = b.g.view(both, 0, n_ff), b.g.view(both, n_ff, 2 * n_ff)
    return linear(b, b.g.glu(glu, gate, up), f"{name}_down{suffix}", b.hp.n_embd)


def mlp(b: Builder, x: Tensor, il: int, act: str = "gelu") -> Tensor:
    """Plain feed-forward: down(act(up(x)))."""
    up = linear(b, x, f"blk.{il}.ffn_up", b.hp.n_ff[il])
    return linear(b, b.g.unary(act, up), f"blk.{il}.ffn_down", b.hp.n_embd)


# The whole


def pre_norm(
    b: Builder,
    x: Tensor,
    attention: Part,
    feed_forward: Part,
    *,
    norm: Norm = rms_norm,
    ffn_norm: str = "ffn_norm",
    residual_scale: float = 1.0,
) -> Tensor:
    """The layers that most families share: h += attention(norm(h)); h += ffn(norm(h)).

    `ffn_norm` names the tensors of the second norm; what is added is times `residual_scale`.
    """
    for il in range(b.hp.n_layer):
        found = attention(b, norm(b, x, f"blk.{il}.attn_norm"), il)
        x = b.g.add(x, scaled(b, found, residual_scale))
        found = feed_forward(b, norm(b, x, f"blk.{il}.{ffn_norm}"), il)
        x = b.g.add(x, scaled(b, found, residual_scale))
    return x


def sandwich(b: Builder, x: Tensor, attention: Part, feed_forward: Part) -> Tensor:
    """Layers that also normalise what they add (arXiv:2408.00118): h += norm(f(norm(h)))."""
    for il in range(b.hp.n_layer):
        found = attention(b, rms_norm(b, x, f"blk.{il}.attn_norm"), il)
        x = b.g.add(x, rms_norm(b, found, f"blk.{il}.post_attention_norm"))
        found = feed_forward(b, rms_norm(b, x, f"blk.{il}.ffn_norm"), il)
        x = b.g.add(x, rms_norm(b, found, f"blk.{il}.post_ffw_norm"))
    return x


def head(b: Builder, x: Tensor, norm: Norm = rms_norm) -> Tensor:
    """Logits (n_out, n_vocab) of the wanted rows; a file without `output` reuses the embedding."""
    x = norm(b, b.g.get_rows(x, b.out_rows), "output_norm")
    tied = "output.weight" not in b.weights.tensors
    w = b.weight("token_embd.weight" if tied else "output.weight", b.hp.n_vocab, b.hp.n_embd)
    logits = b.g.mul_mat(w, x)
    bias = b.maybe("output.bias", b.hp.n_vocab)
    return logits if bias is None else b.g.add(logits, bias)
