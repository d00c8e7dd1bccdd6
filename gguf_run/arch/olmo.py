"""OLMo (arXiv:2402.00838, arXiv:2501.00656, arXiv:2409.02060).

The first has norms without weights and may clamp q, k and v; the second and third normalise what
they add, and q and k over all heads; OLMoE has experts whose weights are not normalised.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from gguf_run.arch.attention import (
    attention_params,
    clamped_attention,
    rope_params,
    wide_norm_attention,
    window,
)
from gguf_run.arch.blocks import embed, ffn, head, plain_norm
from gguf_run.arch.builder import Builder
from gguf_run.arch.layers import post_norm, pre_norm
from gguf_run.arch.moe import experts, router
from gguf_run.arch.registry import architecture
from gguf_run.graph import RopeMode, Tensor


@architecture("olmo")
def olmo(b: Builder) -> Tensor:
    attend = partial(clamped_attention, rope=rope_params(b, RopeMode.NORM))
    return head(b, pre_norm(b, embed(b), attend, ffn, norm=plain_norm), plain_norm)


@architecture("olmo2")
def olmo2(b: Builder) -> Tensor:
    """In OLMo 3 three of four layers see a window, with RoPE as it was before stretching."""
    rope = rope_params(b, RopeMode.NEOX)
    local = replace(rope, freq_scale=1.0, ext_factor=0.0, attn_factor=1.0)

    def attend(b: Builder, x: Tensor, il: int) -> Tensor:
        params = attention_params(b, window(b, il, period=4))
        return wide_norm_attention(b, x, il, local if params.window else rope, params)

    return head(b, post_norm(b, embed(b), attend, ffn))


@architecture("olmoe")
def olmoe(b: Builder) -> Tensor:
    attend = partial(wide_norm_attention, rope=rope_params(b, RopeMode.NEOX))
    return head(b, pre_norm(b, embed(b), attend, olmoe_ffn))


def olmoe_ffn(b: Builder, x: Tensor, il: int) -> Tensor:
    return experts(b, x, il, router(b, normalise=False), b.hp.n_ff[il])
