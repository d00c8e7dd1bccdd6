"""Qwen3-Next and Qwen 3.5: three of four layers have linear attention by the gated delta rule, the
fourth has gated softmax attention with partial RoPE; dense or with experts and a shared one."""

from __future__ import annotations

from gguf_run.arch.attention import heads
from gguf_run.arch.blocks import embed, ffn, head, linear
from gguf_run.arch.builder import Builder
from gguf_run.arch.delta import (
    Heads,
    contiguous,
    delta_attention,
    delta_heads,
    gated_output,
    gated_softmax_attention,
    is_recurrent,
)
from gguf_run.arch.layers import pre_norm
from gguf_run.arch.moe import experts_and_gated_shared, router
from gguf_run.arch.registry import architecture
from gguf_run.graph import DeltaParams, Tensor

PRE_FFN = "post_attention_norm"
"""The norm before the feed-forward."""


@architecture("qwen35")
def qwen35(b: Builder) -> Tensor:
    return head(b, pre_norm(b, embed(b), qwen35_attention, ffn, ffn_norm=PRE_FFN))


@architecture("qwen35moe")
def qwen35moe(b: Builder) -> Tensor:
    return head(b, pre_norm(b, embed(b), qwen35_attention, qwen3next_ffn, ffn_norm=PRE_FFN))


@architecture("qwen3next")
def qwen3next(b: Builder) -> Tensor:
    return head(b, pre_norm(b, embed(b), qwen3next_attention, qwen3next_ffn, ffn_norm=PRE_FFN))


def qwen35_attention(b: Builder, x: Tensor, il: int) -> Tensor:
    if not is_recurrent(b, il):
        return gated_softmax_attention(b, x, il)
    h = delta_heads(b)
    mixed = linear(b, x, f"blk.{il}.attn_qkv", h.channels)
    z = heads(b, linear(b, x, f"blk.{il}.attn_gate", h.values), h.width)
    alpha = linear(b, x, f"blk.{il}.ssm_alpha", h.n_value)
    beta = linear(b, x, f"blk.{il}.ssm_beta", h.n_value)
    o = delta_attention(b, il, h, mixed, alpha, beta, DeltaParams(in_turn=True))
    return gated_output(b, il, o, z)


def qwen3next_attention(b: Builder, x: Tensor, il: int) -> Tensor:
    """Beta and alpha stand together by key head; in older files also q, k, v and z."""
    if not is_recurrent(b, il):
        return gated_softmax_attention(b, x, il)
    h, n_tok = delta_heads(b), x.shape[0]
    n_each = h.n_value // h.n_key
    if b.has(f"blk.{il}.ssm_in.weight"):
        mixed, z = _split_by_key_head(b, il, h, x)
    else:
        mixed = linear(b, x, f"blk.{il}.attn_qkv", h.channels)
        z = heads(b, linear(b, x, f"blk.{il}.attn_gate", h.values), h.width)
    both = heads(b, linear(b, x, f"blk.{il}.ssm_ba", 2 * h.n_value), 2 * n_each)
    beta = contiguous(b, b.g.view(both, 0, n_each), n_tok, h.n_value)
    alpha = contiguous(b, b.g.view(both, n_each, 2 * n_each), n_tok, h.n_value)
    o = delta_attention(b, il, h, mixed, alpha, beta, DeltaParams(in_turn=False))
    return gated_output(b, il, o, z)


def _split_by_key_head(b: Builder, il: int, h: Heads, x: Tensor) -> tuple[Tensor, Tensor]:
    """Queries, keys and values (n_tok, channels), and z as heads, from one product whose rows hold
    all four of each key head."""
    g, n_tok, n_own = b.g, x.shape[0], h.values // h.n_key
    width = 2 * h.width + 2 * n_own
    all_four = heads(b, linear(b, x, f"blk.{il}.ssm_in", h.n_key * width), width)
    ends = (h.width, 2 * h.width, 2 * h.width + n_own, width)
    parts = [g.view(all_four, i, j) for i, j in zip((0, *ends), ends, strict=False)]
    q, k, v, z = (contiguous(b, part, n_tok, 1, part.shape[1] * part.shape[2]) for part in parts)
    mixed = g.reshape(g.concat(g.concat(q, k), v), n_tok, h.channels)
    return mixed, g.reshape(z, n_tok, h.n_value, h.width)


def qwen3next_ffn(b: Builder, x: Tensor, il: int) -> Tensor:
    return experts_and_gated_shared(b, x, il, router(b))
