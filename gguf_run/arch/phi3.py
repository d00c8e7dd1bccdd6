"""Phi 3 and 4 (arXiv:2404.14219): fused QKV and gate-up, LongRoPE's factors, partial RoPE."""

from __future__ import annotations

from gguf_run.arch.attention import rope_factors, roped
from gguf_run.arch.blocks import embed, ffn, head
from gguf_run.arch.builder import Builder
from gguf_run.arch.layers import pre_norm
from gguf_run.arch.registry import architecture
from gguf_run.graph import RopeMode, Tensor


@architecture("phi3")
def phi3(b: Builder) -> Tensor:
    return head(b, pre_norm(b, embed(b), roped(b, RopeMode.NEOX, rope_factors(b)), ffn))
