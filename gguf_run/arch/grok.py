"""Grok: sandwich norms, capped scores, experts with GELU, in Grok 2 beside a dense feed-forward."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from gguf_run.arch.attention import attention, rope_params
from gguf_run.arch.blocks import embed, ffn, head, rms_norm, scaled
from gguf_run.arch.builder import Builder
from gguf_run.arch.moe import experts, geglu, router
from gguf_run.arch.registry import architecture
from gguf_run.graph import AttentionParams, RopeMode, Tensor

EMBEDDING_SCALE, OUTPUT_SCALE = 78.38367176906169, 0.5773502691896257
SCORE_SCALE, SCORE_CAP = 0.08838834764831845, 30.0
BETA_FAST = 8.0
"""Grok 1's, where the file names no others."""


@architecture("grok")
def grok(b: Builder) -> Tensor:
    keys, g = b.hp.keys, b.g
    rope = rope_params(b, RopeMode.NEOX)
    rope = replace(
        rope,
        ext_factor=keys.number("rope.scaling.yarn_ext_factor", rope.ext_factor),
        attn_factor=keys.number("rope.scaling.yarn_attn_factor", rope.attn_factor),
        beta_fast=keys.number("rope.scaling.yarn_beta_fast", BETA_FAST),
        beta_slow=keys.number("rope.scaling.yarn_beta_slow", rope.beta_slow),
    )
    scores = AttentionParams(
        keys.number("attention.output_scale", SCORE_SCALE),
        softcap=keys.number("attn_logit_softcapping", SCORE_CAP),
    )
    attend = partial(attention, rope=rope, params=scores)
    x = embed(b, keys.number("embedding_scale", EMBEDDING_SCALE))
    for il in range(b.hp.n_layer):
        found = attend(b, rms_norm(b, x, f"blk.{il}.attn_norm"), il)
        x = g.add(x, rms_norm(b, found, f"blk.{il}.attn_output_norm"))
        found = grok_ffn(b, rms_norm(b, x, f"blk.{il}.ffn_norm"), il)
        first = f"blk.{il}.layer_output_norm"
        last = first if b.has(f"{first}.weight") else f"blk.{il}.post_ffw_norm"
        x = g.add(x, rms_norm(b, found, last))
    logits = scaled(b, head(b, x), keys.number("logit_scale", OUTPUT_SCALE))
    cap = keys.number("final_logit_softcapping", 0.0)
    return g.softcap(logits, cap) if cap else logits


def grok_ffn(b: Builder, x: Tensor, il: int) -> Tensor:
    n_ff = b.hp.keys.integer("expert_feed_forward_length", 0, low=0) or b.hp.n_ff[il]
    routed = experts(b, x, il, router(b), n_ff, geglu)
    if not b.has(f"blk.{il}.ffn_up.weight"):
        return routed
    return b.g.scale(b.g.add(ffn(b, x, il, "geglu"), routed), 0.5**0.5)
