"""Nemotron 4 (arXiv:2402.16819) and Arcee's AFM: a plain feed-forward with squared ReLU
(arXiv:2109.08668)."""

from __future__ import annotations

from gguf_run.arch.attention import rope_factors, roped
from gguf_run.arch.blocks import embed, head, layer_norm, linear
from gguf_run.arch.builder import Builder
from gguf_run.arch.layers import pre_norm
from gguf_run.arch.registry import architecture
from gguf_run.graph import RopeMode, Tensor


@architecture("nemotron")
def nemotron(b: Builder) -> Tensor:
    """Layer norms, partial RoPE."""
    x = pre_norm(b, embed(b), roped(b, RopeMode.NEOX), relu_squared_mlp, norm=layer_norm)
    return head(b, x, layer_norm)


@architecture("arcee")
def arcee(b: Builder) -> Tensor:
    attend = roped(b, RopeMode.NORM, rope_factors(b))
    return head(b, pre_norm(b, embed(b), attend, relu_squared_mlp))


def relu_squared_mlp(b: Builder, x: Tensor, il: int) -> Tensor:
    up = b.g.unary("relu", linear(b, x, f"blk.{il}.ffn_up", b.hp.n_ff[il]))
    return linear(b, b.g.unary("sqr", up), f"blk.{il}.ffn_down", b.hp.n_embd)
