"""Phi 3 and 4 (arXiv:2404.14219): fused QKV and gate-up, LongRoPE's factors, partial RoPE."""

from __future__ import annotations

from gguf_run.arch.blocks import rope_factors, rope_params, transformer
from gguf_run.arch.builder import Builder
from gguf_run.arch.registry import architecture
from gguf_run.graph import RopeMode, Tensor


@architecture("phi3")
def phi3(b: Builder) -> Tensor:
    return transformer(b, rope_params(b, RopeMode.NEOX), rope_factors(b))
