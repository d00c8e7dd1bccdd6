"""Ling (arXiv:2503.05139, arXiv:2510.22115): Llama with fine-grained experts beside shared ones;
the second generation normalises q and k, and chooses experts by sigmoids within groups."""

from __future__ import annotations

from gguf_run.arch.attention import rope_factors, roped
from gguf_run.arch.blocks import embed, head
from gguf_run.arch.builder import Builder
from gguf_run.arch.layers import pre_norm
from gguf_run.arch.moe import dense_then_experts, experts, router, router_by_keys, shared_expert
from gguf_run.arch.registry import architecture
from gguf_run.graph import Gating, RopeMode, Tensor


@architecture("bailingmoe")
def bailingmoe(b: Builder) -> Tensor:
    attend = roped(b, RopeMode.NORM, rope_factors(b))
    return head(b, pre_norm(b, embed(b), attend, bailingmoe_ffn))


@architecture("bailingmoe2")
def bailingmoe2(b: Builder) -> Tensor:
    return head(b, pre_norm(b, embed(b), roped(b, RopeMode.NEOX), bailingmoe2_ffn))


def bailingmoe2_ffn(b: Builder, x: Tensor, il: int) -> Tensor:
    return dense_then_experts(b, x, il, router_by_keys(b, Gating.SIGMOID))


def bailingmoe_ffn(b: Builder, x: Tensor, il: int) -> Tensor:
    keys = b.hp.keys
    normalise = keys.flag("expert_weights_norm", False)
    scale = keys.number("expert_weights_scale", 1.0)
    n_ff = keys.integer("expert_feed_forward_length")
    routed = experts(b, x, il, router(b, normalise=normalise, scale=scale), n_ff)
    return b.g.add(routed, shared_expert(b, x, il, n_ff * keys.integer("expert_shared_count")))
