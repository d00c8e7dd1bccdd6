"""MiMo V2: windows, heads and sinks that differ from layer to layer, values narrower than keys,
partial RoPE, and experts that sigmoids choose."""

from __future__ import annotations

from gguf_run.arch.attention import (
    attend,
    attention_params,
    local_rope,
    qkv_heads,
    rope_params,
    window,
)
from gguf_run.arch.blocks import embed, ffn, head, linear, scaled
from gguf_run.arch.builder import Builder
from gguf_run.arch.layers import pre_norm
from gguf_run.arch.moe import experts, router
from gguf_run.arch.registry import architecture
from gguf_run.graph import Gating, RopeMode, Tensor


@architecture("mimo2")
def mimo2(b: Builder) -> Tensor:
    return head(b, pre_norm(b, embed(b), mimo2_attention, mimo2_ffn))


def mimo2_attention(b: Builder, x: Tensor, il: int) -> Tensor:
    size, rope = window(b, il, period=1), rope_params(b, RopeMode.NEOX)
    rope = local_rope(b, rope) if size else rope
    q, k, v = qkv_heads(b, x, il)
    q, k = b.g.rope(q, b.positions, rope), b.g.rope(k, b.positions, rope)
    found = attend(b, q, k, v, il, attention_params(b, size))
    found = linear(b, found, f"blk.{il}.attn_output", b.hp.n_embd)
    return scaled(b, found, b.hp.keys.number("attention.value_scale", 1.0))


def mimo2_ffn(b: Builder, x: Tensor, il: int) -> Tensor:
    if not b.has(f"blk.{il}.ffn_gate_inp.weight"):
        return ffn(b, x, il)
    params = router(b, Gating.SIGMOID)
    return experts(b, x, il, params, b.hp.keys.integer("expert_feed_forward_length"))
