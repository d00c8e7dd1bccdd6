"""Ministral 3 (arXiv:2601.08584): Llama with YaRN, whose magnitude the file may cancel, and with
scores that may grow with the position; some models have experts."""

from __future__ import annotations

from dataclasses import replace
from math import log

from gguf_run.arch.attention import qkv_heads, rope_factors, rope_params, rotate_and_attend, warmed
from gguf_run.arch.blocks import embed, ffn, head
from gguf_run.arch.builder import Builder
from gguf_run.arch.layers import pre_norm
from gguf_run.arch.moe import experts, has_experts, router
from gguf_run.arch.registry import architecture
from gguf_run.graph import RopeMode, RopeParams, Tensor


@architecture("mistral3")
def mistral3(b: Builder) -> Tensor:
    rope, factors = _rope(b), rope_factors(b)

    def attend(b: Builder, x: Tensor, il: int) -> Tensor:
        q, k, v = qkv_heads(b, x, il)
        q = warmed(b, b.g.rope(q, b.positions, rope, factors))
        k = b.g.rope(k, b.positions, rope, factors)
        return rotate_and_attend(b, q, k, v, il, None)

    return head(b, pre_norm(b, embed(b), attend, mistral3_ffn if has_experts(b) else ffn))


def _rope(b: Builder) -> RopeParams:
    rope, keys = rope_params(b, RopeMode.NORM), b.hp.keys
    multiplier = keys.number("rope.scaling.yarn_log_multiplier", 0.0)
    magnitude = 1 + 0.1 * multiplier * log(1 / rope.freq_scale) if rope.ext_factor else 1.0
    return replace(
        rope,
        attn_factor=rope.attn_factor / magnitude,
        beta_fast=keys.number("rope.scaling.yarn_beta_fast", rope.beta_fast),
        beta_slow=keys.number("rope.scaling.yarn_beta_slow", rope.beta_slow),
    )


def mistral3_ffn(b: Builder, x: Tensor, il: int) -> Tensor:
    return experts(b, x, il, router(b), b.hp.n_ff[il])
