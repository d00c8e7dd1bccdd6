"""Laguna: attention whose heads, or their elements, are multiplied by softplus gates; windows in
three of four layers, where RoPE is not stretched; experts beside a shared one."""

from __future__ import annotations

from dataclasses import replace

from gguf_run.arch.attention import (
    attend,
    attention_params,
    head_norms,
    qkv_heads,
    rope_params,
    times_heads,
    window,
    window_base,
)
from gguf_run.arch.blocks import embed, ffn, head, linear
from gguf_run.arch.builder import Builder
from gguf_run.arch.layers import pre_norm
from gguf_run.arch.moe import experts, router_by_keys, shared_expert
from gguf_run.arch.registry import architecture
from gguf_run.graph import Gating, RopeMode, RopeParams, Tensor

PERIOD = 4


@architecture("laguna")
def laguna(b: Builder) -> Tensor:
    return head(b, pre_norm(b, embed(b), laguna_attention, laguna_ffn))


def _rope(b: Builder, has_window: bool) -> RopeParams:
    rope, keys = rope_params(b, RopeMode.NEOX), b.hp.keys
    if not has_window:
        return rope
    return replace(
        rope,
        n_dims=keys.integer("rope.dimension_count_swa", rope.n_dims, high=b.hp.head_dim_k),
        freq_base=window_base(b, rope.freq_base),
        freq_scale=1.0,
        ext_factor=0.0,
        attn_factor=1.0,
    )


def laguna_attention(b: Builder, x: Tensor, il: int) -> Tensor:
    g, name, size = b.g, f"blk.{il}.attn", window(b, il, PERIOD, first=True)
    rope = _rope(b, size > 0)
    q, k, v = qkv_heads(b, x, il)
    q, k = head_norms(b, q, k, il)
    q, k = g.rope(q, b.positions, rope), g.rope(k, b.positions, rope)
    found = attend(b, q, k, v, il, attention_params(b, size))
    info, n_head = b.weights.tensors.get(f"{name}_gate.weight"), q.shape[1]
    by_head = info is None or info.shape[0] == n_head
    gate = g.unary("softplus", linear(b, x, f"{name}_gate", n_head if by_head else found.shape[1]))
    found = times_heads(b, found, gate) if by_head else g.mul(found, gate)
    return linear(b, found, f"{name}_output", b.hp.n_embd)


def laguna_ffn(b: Builder, x: Tensor, il: int) -> Tensor:
    keys = b.hp.keys
    if il < keys.integer("leading_dense_block_count", low=0):
        return ffn(b, x, il)
    n_ff = keys.integer("expert_feed_forward_length")
    n_shared = keys.integer("expert_shared_feed_forward_length", 0, low=0)
    n_shared = n_shared or n_ff * keys.integer("expert_shared_count", 1)
    routed = experts(b, x, il, router_by_keys(b, Gating.SIGMOID), n_ff)
    return b.g.add(routed, shared_expert(b, x, il, n_shared))
