"""Phi 1.5 and 2 (arXiv:2309.05463): attention and feed-forward side by side, partial RoPE."""

from __future__ import annotations

from gguf_run.arch.attention import roped
from gguf_run.arch.blocks import embed, head, layer_norm, mlp
from gguf_run.arch.builder import Builder
from gguf_run.arch.layers import parallel
from gguf_run.arch.registry import architecture
from gguf_run.graph import RopeMode, Tensor


@architecture("phi2")
def phi2(b: Builder) -> Tensor:
    return head(b, parallel(b, embed(b), roped(b, RopeMode.NEOX), mlp), layer_norm)
