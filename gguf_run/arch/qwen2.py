"""Qwen 2 and 2.5 (arXiv:2407.10671, arXiv:2412.15115): biases on q, k and v."""

from __future__ import annotations

from gguf_run.arch.blocks import rope_params, transformer
from gguf_run.arch.builder import Builder
from gguf_run.arch.registry import architecture
from gguf_run.graph import RopeMode, Tensor


@architecture("qwen2")
def qwen2(b: Builder) -> Tensor:
    return transformer(b, rope_params(b, RopeMode.NEOX))
