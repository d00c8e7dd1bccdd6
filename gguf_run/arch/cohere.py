"""Command R (arXiv:2504.00698) and its successors: attention and feed-forward side by side of one
layer norm without bias, logits times a factor; the second turns q and k only where it sees a
window, in three of four layers; its mixture of experts halves the sum of routed and shared."""

from __future__ import annotations

from functools import partial

from gguf_run.arch.attention import (
    attention,
    attention_params,
    rope_factors,
    rope_params,
    window,
    windowed,
)
from gguf_run.arch.blocks import (
    Norm,
    embed,
    ffn,
    head,
    layer_norm,
    layer_norm_heads,
    rms_norm,
    scaled,
)
from gguf_run.arch.builder import Builder
from gguf_run.arch.layers import parallel
from gguf_run.arch.moe import experts, router_by_keys, shared_expert
from gguf_run.arch.registry import architecture
from gguf_run.graph import AttentionParams, Gating, RopeMode, Tensor


@architecture("command-r")
def command_r(b: Builder) -> Tensor:
    attend = partial(attention, rope=rope_params(b, RopeMode.NORM), norm=layer_norm_heads)
    return _scaled_head(b, parallel(b, embed(b), attend, ffn))


@architecture("cohere2")
def cohere2(b: Builder) -> Tensor:
    rope, factors = rope_params(b, RopeMode.NORM), rope_factors(b)

    def params(il: int) -> AttentionParams:
        return attention_params(b, window(b, il, period=4))

    attend = windowed(None, rope, params, factors)
    return _scaled_head(b, parallel(b, embed(b), attend, ffn))


@architecture("cohere2moe")
def cohere2moe(b: Builder) -> Tensor:
    """The first of four layers sees all; the dense layers turn q and k in any case."""
    keys, rope, factors = b.hp.keys, rope_params(b, RopeMode.NORM), rope_factors(b)
    n_dense = keys.integer("leading_dense_block_count", low=0)
    has_rms = keys.number("attention.layer_norm_rms_epsilon", 0.0) > 0
    norm = rms_norm if has_rms else layer_norm

    def attend(b: Builder, x: Tensor, il: int) -> Tensor:
        params = attention_params(b, window(b, il, period=4, first=True))
        rotates = params.window or il < n_dense
        return attention(b, x, il, rope if rotates else None, factors, params)

    return _scaled_head(b, parallel(b, embed(b), attend, cohere2moe_ffn, norm), norm)


def cohere2moe_ffn(b: Builder, x: Tensor, il: int) -> Tensor:
    if not b.has(f"blk.{il}.ffn_gate_inp.weight"):
        return ffn(b, x, il)
    keys = b.hp.keys
    n_ff = keys.integer("expert_feed_forward_length")
    routed = experts(b, x, il, router_by_keys(b, Gating.SIGMOID), n_ff)
    if not b.has(f"blk.{il}.ffn_up_shexp.weight"):
        return routed
    n_shared = keys.integer("expert_shared_feed_forward_length", 0, low=0)
    n_shared = n_shared or n_ff * keys.integer("expert_shared_count", 1)
    return b.g.scale(b.g.add(routed, shared_expert(b, x, il, n_shared)), 0.5)


def _scaled_head(b: Builder, x: Tensor, norm: Norm = layer_norm) -> Tensor:
    return scaled(b, head(b, x, norm), b.hp.keys.number("logit_scale"))
