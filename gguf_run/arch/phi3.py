"""Phi 3 and 4 (arXiv:2404.14219): fused QKV and gate-up, LongRoPE's factors, partial RoPE."""

from __future__ import annotations

from functools import partial

from gguf_run.arch.blocks import attention, embed, ffn, head, pre_norm, rope_factors, rope_params
from gguf_run.arch.builder import Builder
from gguf_run.arch.registry import architecture
from gguf_run.graph import RopeMode, Tensor


@architecture("phi3")
def phi3(b: Builder) -> Tensor:
    rope = partial(attention, rope=rope_params(b, RopeMode.NEOX), factors=rope_factors(b))
    return head(b, pre_norm(b, embed(b), rope, ffn))
