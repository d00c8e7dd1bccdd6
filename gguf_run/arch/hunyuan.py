"""Hunyuan's dense models, its mixture of experts (arXiv:2411.02265) and Maincoder: q and k are
normalised by head after RoPE; the experts stand beside a shared one."""

from __future__ import annotations

from gguf_run.arch.attention import (
    head_norms,
    qkv_heads,
    rope_factors,
    rope_params,
    rotate_and_attend,
)
from gguf_run.arch.blocks import Part, embed, ffn, head
from gguf_run.arch.builder import Builder
from gguf_run.arch.layers import pre_norm
from gguf_run.arch.moe import experts, router, shared_expert
from gguf_run.arch.registry import architecture
from gguf_run.graph import RopeMode, Tensor


@architecture("hunyuan-dense")
def hunyuan_dense(b: Builder) -> Tensor:
    return head(b, pre_norm(b, embed(b), _attention(b), ffn))


@architecture("maincoder")
def maincoder(b: Builder) -> Tensor:
    return head(b, pre_norm(b, embed(b), _attention(b, RopeMode.NORM), ffn))


@architecture("hunyuan-moe")
def hunyuan_moe(b: Builder) -> Tensor:
    return head(b, pre_norm(b, embed(b), _attention(b), hunyuan_moe_ffn))


def _attention(b: Builder, mode: RopeMode = RopeMode.NEOX) -> Part:
    rope, factors = rope_params(b, mode), rope_factors(b)

    def attend(b: Builder, x: Tensor, il: int) -> Tensor:
        q, k, v = qkv_heads(b, x, il)
        q = b.g.rope(q, b.positions, rope, factors)
        k = b.g.rope(k, b.positions, rope, factors)
        q, k = head_norms(b, q, k, il)
        return rotate_and_attend(b, q, k, v, il, None)

    return attend


def hunyuan_moe_ffn(b: Builder, x: Tensor, il: int) -> Tensor:
    n_ff = b.hp.n_ff[il]
    routed = experts(b, x, il, router(b), n_ff)
    n_shared = b.hp.keys.integer("expert_shared_feed_forward_length", n_ff)
    return b.g.add(shared_expert(b, x, il, n_shared), routed)
