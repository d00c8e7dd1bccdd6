"""Granite and MiniCPM (arXiv:2404.06395): Llama with fixed factors on the embedding, on what
layers add, on scores and on logits (arXiv:2203.03466)."""

from __future__ import annotations

from functools import partial

from gguf_run.arch.attention import attention, rope_factors, rope_params, roped, window
from gguf_run.arch.blocks import Part, embed, ffn, head, scaled
from gguf_run.arch.builder import Builder
from gguf_run.arch.layers import pre_norm
from gguf_run.arch.moe import experts, has_experts, router, shared_expert
from gguf_run.arch.registry import architecture
from gguf_run.graph import AttentionParams, RopeMode, Tensor


@architecture("granite", "granitemoe")
def granite(b: Builder) -> Tensor:
    return granite_layers(b, granite_attention(b))


def granite_attention(b: Builder) -> Part:
    """Attention with the file's factor of scores, and without positions where it says so."""
    keys = b.hp.keys
    rotates = keys.flag("rope.scaling.finetuned", True)
    return partial(
        attention,
        rope=rope_params(b, RopeMode.NORM) if rotates else None,
        factors=rope_factors(b),
        params=AttentionParams(keys.number("attention.scale", 0.0) or b.hp.head_dim_k**-0.5),
    )


@architecture("granite_swa")
def granite_swa(b: Builder) -> Tensor:
    """Layers with a window and layers without positions, as the file says; sinks."""
    hp, rope, factors = b.hp, rope_params(b, RopeMode.NORM), rope_factors(b)
    scale = hp.keys.number("attention.scale", 0.0) or hp.head_dim_k**-0.5
    rotates = hp.keys.per_layer("attention.rope_pattern", hp.n_layer, (1,) * hp.n_layer)

    def attend(b: Builder, x: Tensor, il: int) -> Tensor:
        params = AttentionParams(scale, window(b, il, period=1))
        return attention(b, x, il, rope if rotates[il] else None, factors, params)

    return granite_layers(b, attend)


def granite_layers(b: Builder, attend: Part) -> Tensor:
    """From tokens to logits, with the file's factors."""
    keys = b.hp.keys
    return _scaled_layers(
        b,
        attend,
        keys.number("embedding_scale", 1.0),
        keys.number("residual_scale", 1.0),
        keys.number("logit_scale", 0.0),
    )


@architecture("minicpm")
def minicpm(b: Builder) -> Tensor:
    keys, hp = b.hp.keys, b.hp
    return _scaled_layers(
        b,
        roped(b, RopeMode.NORM, rope_factors(b)),
        keys.number("embedding_scale", 12.0),
        keys.number("residual_scale", 1.4 * hp.n_layer**-0.5),
        keys.number("logit_scale", 256.0 / hp.n_embd),
    )


def _scaled_layers(
    b: Builder, attend: Part, embedding: float, residual: float, logit_divisor: float
) -> Tensor:
    feed_forward = granitemoe_ffn if has_experts(b) else ffn
    x = pre_norm(b, embed(b, embedding), attend, feed_forward, residual_scale=residual)
    return scaled(b, head(b, x), 1 / logit_divisor if logit_divisor else 1.0)


def granitemoe_ffn(b: Builder, x: Tensor, il: int) -> Tensor:
    """Experts, beside a shared one where the file has it."""
    routed = experts(b, x, il, router(b), b.hp.n_ff[il])
    n_shared = b.hp.keys.integer("expert_shared_feed_forward_length", 0, low=0)
    return b.g.add(routed, shared_expert(b, x, il, n_shared)) if n_shared else routed
