"""GLM 4 (arXiv:2406.12793, arXiv:2508.06471): RoPE over a part of each head, biases on q, k and v;
the dense model normalises what it adds, the mixture of experts scores experts by sigmoids."""

from __future__ import annotations

from functools import partial

from gguf_run.arch.blocks import attention, embed, ffn, head, pre_norm, rope_params, sandwich
from gguf_run.arch.builder import Builder
from gguf_run.arch.moe import experts, router_by_keys, shared_expert
from gguf_run.arch.registry import architecture
from gguf_run.graph import Gating, RopeMode, Tensor


@architecture("glm4")
def glm4(b: Builder) -> Tensor:
    rope = partial(attention, rope=rope_params(b, RopeMode.NORM))
    return head(b, sandwich(b, embed(b), rope, ffn))


@architecture("glm4moe")
def glm4moe(b: Builder) -> Tensor:
    """`post_attention_norm` is the norm before the feed-forward; the first layers are dense."""
    rope = partial(attention, rope=rope_params(b, RopeMode.NEOX))
    return head(b, pre_norm(b, embed(b), rope, glm4moe_ffn, ffn_norm="post_attention_norm"))


def glm4moe_ffn(b: Builder, x: Tensor, il: int) -> Tensor:
    keys = b.hp.keys
    if il < keys.integer("leading_dense_block_count", 0, low=0):
        return ffn(b, x, il)
    n_ff = keys.integer("expert_feed_forward_length")
    routed = experts(b, x, il, router_by_keys(b, Gating.SIGMOID), n_ff)
    n_shared = keys.integer("expert_shared_count", 0, low=0)
    return b.g.add(routed, shared_expert(b, x, il, n_ff * n_shared)) if n_shared else routed
