"""GLM 4 (arXiv:2406.12793, arXiv:2508.06471): RoPE over a part of each head, biases on q, k and v;
the dense model normalises what it adds, the mixture of experts scores experts by sigmoids."""

from __future__ import annotations

from gguf_run.arch.attention import has_sections, roped
from gguf_run.arch.blocks import embed, ffn, head
from gguf_run.arch.builder import Builder
from gguf_run.arch.layers import pre_norm, sandwich
from gguf_run.arch.moe import dense_then_experts, router_by_keys
from gguf_run.arch.registry import architecture
from gguf_run.graph import Gating, RopeMode, Tensor


@architecture("glm4")
def glm4(b: Builder) -> Tensor:
    rope = roped(b, RopeMode.NEOX if has_sections(b) else RopeMode.NORM)
    return head(b, sandwich(b, embed(b), rope, ffn))


@architecture("glm4moe")
def glm4moe(b: Builder) -> Tensor:
    """`post_attention_norm` is the norm before the feed-forward; the first layers are dense."""
    attend = roped(b, RopeMode.NEOX)
    return head(b, pre_norm(b, embed(b), attend, glm4moe_ffn, ffn_norm="post_attention_norm"))


def glm4moe_ffn(b: Builder, x: Tensor, il: int) -> Tensor:
    return dense_then_experts(b, x, il, router_by_keys(b, Gating.SIGMOID))
