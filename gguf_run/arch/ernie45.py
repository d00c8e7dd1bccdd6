"""ERNIE 4.5's mixture of experts: chosen by softmax plus a bias, beside shared experts."""

from __future__ import annotations

from gguf_run.arch.attention import roped
from gguf_run.arch.blocks import embed, ffn, head
from gguf_run.arch.builder import Builder
from gguf_run.arch.layers import pre_norm
from gguf_run.arch.moe import experts, router, shared_expert
from gguf_run.arch.registry import architecture
from gguf_run.graph import RopeMode, Tensor


@architecture("ernie4_5-moe")
def ernie4_5_moe(b: Builder) -> Tensor:
    return head(b, pre_norm(b, embed(b), roped(b, RopeMode.NORM), ernie4_5_moe_ffn))


def ernie4_5_moe_ffn(b: Builder, x: Tensor, il: int) -> Tensor:
    keys = b.hp.keys
    step = keys.integer("interleave_moe_layer_step", 1)
    if il < keys.integer("leading_dense_block_count", 0, low=0) or (il + 1) % step:
        return ffn(b, x, il)
    routed = experts(b, x, il, router(b), keys.integer("expert_feed_forward_length"))
    n_shared = keys.integer("expert_shared_feed_forward_length", 0, low=0)
    return b.g.add(routed, shared_expert(b, x, il, n_shared)) if n_shared else routed
