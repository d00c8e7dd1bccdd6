"""Orion (arXiv:2401.12246): Llama with layer norms."""

from __future__ import annotations

from gguf_run.arch.attention import roped
from gguf_run.arch.blocks import embed, ffn, head, layer_norm
from gguf_run.arch.builder import Builder
from gguf_run.arch.layers import pre_norm
from gguf_run.arch.registry import architecture
from gguf_run.graph import RopeMode, Tensor


@architecture("orion")
def orion(b: Builder) -> Tensor:
    x = pre_norm(b, embed(b), roped(b, RopeMode.NEOX), ffn, norm=layer_norm)
    return head(b, x, layer_norm)
