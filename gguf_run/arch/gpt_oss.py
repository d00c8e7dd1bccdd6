"""gpt-oss (arXiv:2508.10925): attention sinks, a window in every second layer, biases everywhere,
experts with a clamped gate that are weighed by the softmax of the chosen ones' logits."""

from __future__ import annotations

from gguf_run.arch.attention import attention_params, rope_params, window, window_rope, windowed
from gguf_run.arch.blocks import embed, head
from gguf_run.arch.builder import Builder
from gguf_run.arch.layers import pre_norm
from gguf_run.arch.moe import experts, router
from gguf_run.arch.registry import architecture
from gguf_run.graph import AttentionParams, Gating, GluParams, RopeMode, Tensor

GATE = GluParams(alpha=1.702, limit=7.0)


@architecture("gpt-oss")
def gpt_oss(b: Builder) -> Tensor:
    """`post_attention_norm` is the norm before the feed-forward."""
    rope = rope_params(b, RopeMode.NEOX)

    def params(il: int) -> AttentionParams:
        return attention_params(b, window(b, il, period=2))

    attend = windowed(rope, window_rope(b, rope), params)
    return head(b, pre_norm(b, embed(b), attend, gpt_oss_ffn, ffn_norm="post_attention_norm"))


def gpt_oss_ffn(b: Builder, x: Tensor, il: int) -> Tensor:
    params = router(b, Gating.SOFTMAX_SELECTED, normalise=False)
    n_ff = b.hp.keys.integer("expert_feed_forward_length")
    return experts(b, x, il, params, n_ff, clamped_swiglu)


def clamped_swiglu(b: Builder, gate: Tensor, up: Tensor) -> Tensor:
    return b.g.swiglu_oai(gate, up, GATE)
