"""Nemotron 4 (arXiv:2402.16819), Jais 2 and Arcee's AFM: a plain feed-forward with squared ReLU."""

from __future__ import annotations

from gguf_run.arch.attention import rope_factors, roped
from gguf_run.arch.blocks import embed, head, layer_norm, squared_relu_mlp
from gguf_run.arch.builder import Builder
from gguf_run.arch.layers import pre_norm
from gguf_run.arch.registry import architecture
from gguf_run.graph import RopeMode, Tensor


@architecture("nemotron", "jais2")
def nemotron(b: Builder) -> Tensor:
    """Layer norms, partial RoPE."""
    x = pre_norm(b, embed(b), roped(b, RopeMode.NEOX), squared_relu_mlp, norm=layer_norm)
    return head(b, x, layer_norm)


@architecture("arcee")
def arcee(b: Builder) -> Tensor:
    attend = roped(b, RopeMode.NORM, rope_factors(b))
    return head(b, pre_norm(b, embed(b), attend, squared_relu_mlp))
