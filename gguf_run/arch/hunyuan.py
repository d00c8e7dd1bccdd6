"""Hunyuan's dense models, its mixture of experts (arXiv:2411.02265) and Maincoder: q and k are
normalised by head after RoPE, in Hunyuan's third version before it; the experts stand beside a
shared one."""

from __future__ import annotations

from gguf_run.arch.attention import (
    head_norms,
    qkv_heads,
    rope_factors,
    rope_params,
    roped,
    rotate_and_attend,
)
from gguf_run.arch.blocks import Part, embed, ffn, head
from gguf_run.arch.builder import Builder
from gguf_run.arch.layers import pre_norm
from gguf_run.arch.moe import experts, router, router_by_keys, shared_expert
from gguf_run.arch.registry import architecture
from gguf_run.graph import Gating, RopeMode, Tensor


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


@architecture("hy_v3")
def hy_v3(b: Builder) -> Tensor:
    attend = roped(b, RopeMode.NEOX, rope_factors(b))
    return head(b, pre_norm(b, embed(b), attend, hy_v3_ffn))


def hy_v3_ffn(b: Builder, x: Tensor, il: int) -> Tensor:
    """Layers without a router are dense."""
    if not b.has(f"blk.{il}.ffn_gate_inp.weight"):
        return ffn(b, x, il)
    keys, params = b.hp.keys, router_by_keys(b, Gating.SIGMOID)
    n_ff = keys.integer("expert_feed_forward_length", 0, low=0) or b.hp.n_ff[il] // params.n_used
    n_shared = keys.integer("expert_shared_feed_forward_length", 0, low=0) or n_ff
    return b.g.add(experts(b, x, il, params, n_ff), shared_expert(b, x, il, n_shared))
