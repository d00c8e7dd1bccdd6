"""Arcee's Trinity: attention whose result a sigmoid multiplies, sandwich norms, windows in three of
four layers and RoPE in those alone, experts beside shared ones."""

from __future__ import annotations

from gguf_run.arch.attention import (
    attend,
    attention_params,
    head_norms,
    qkv_heads,
    rope_params,
    window,
)
from gguf_run.arch.blocks import embed, head, linear
from gguf_run.arch.builder import Builder
from gguf_run.arch.layers import sandwich
from gguf_run.arch.moe import dense_then_experts, router_by_keys
from gguf_run.arch.registry import architecture
from gguf_run.graph import Gating, RopeMode, Tensor

PERIOD = 4


@architecture("afmoe")
def afmoe(b: Builder) -> Tensor:
    x = embed(b, b.hp.n_embd**0.5)
    return head(b, sandwich(b, x, afmoe_attention, afmoe_ffn))


def afmoe_attention(b: Builder, x: Tensor, il: int) -> Tensor:
    """The gate is a product of what the attention gets."""
    g, name = b.g, f"blk.{il}.attn"
    q, k, v = qkv_heads(b, x, il)
    q, k = head_norms(b, q, k, il)
    if (il + 1) % PERIOD:
        rope = rope_params(b, RopeMode.NEOX)
        q, k = g.rope(q, b.positions, rope), g.rope(k, b.positions, rope)
    found = attend(b, q, k, v, il, attention_params(b, window(b, il, PERIOD)))
    gate = g.unary("sigmoid", linear(b, x, f"{name}_gate", found.shape[1]))
    return linear(b, g.mul(found, gate), f"{name}_output", b.hp.n_embd)


def afmoe_ffn(b: Builder, x: Tensor, il: int) -> Tensor:
    return dense_then_experts(b, x, il, router_by_keys(b, Gating.SIGMOID))
