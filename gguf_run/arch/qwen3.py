"""Qwen 3 (arXiv:2505.09388): q and k are RMS-normed per head before RoPE; no biases."""

from __future__ import annotations

from gguf_run.arch.blocks import rope_params, transformer
from gguf_run.arch.builder import Builder
from gguf_run.arch.registry import architecture
from gguf_run.graph import RopeMode, Tensor


@architecture("qwen3")
def qwen3(b: Builder) -> Tensor:
    return transformer(b, rope_params(b, RopeMode.NEOX))
