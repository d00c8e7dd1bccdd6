"""Ling (arXiv:2503.05139): Llama with fine-grained experts beside shared ones in all layers."""

from __future__ import annotations

from gguf_run.arch.attention import rope_factors, roped
from gguf_run.arch.blocks import embed, head
from gguf_run.arch.builder import Builder
from gguf_run.arch.layers import pre_norm
from gguf_run.arch.moe import experts, router, shared_expert
from gguf_run.arch.registry import architecture
from gguf_run.graph import RopeMode, Tensor


@architecture("bailingmoe")
def bailingmoe(b: Builder) -> Tensor:
    attend = roped(b, RopeMode.NORM, rope_factors(b))
    return head(b, pre_norm(b, embed(b), attend, bailingmoe_ffn))


def bailingmoe_ffn(b: Builder, x: Tensor, il: int) -> Tensor:
    keys = b.hp.keys
    normalise = keys.flag("expert_weights_norm", False)
    scale = keys.number("expert_weights_scale", 1.0)
    n_ff = keys.integer("expert_feed_forward_length")
    routed = experts(b, x, il, router(b, normalise=normalise, scale=scale), n_ff)
    return b.g.add(routed, shared_expert(b, x, il, n_ff * keys.integer("expert_shared_count")))
