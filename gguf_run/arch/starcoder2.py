"""StarCoder 2 (arXiv:2402.19173): layer norms, biases, a plain feed-forward with GELU."""

from __future__ import annotations

from gguf_run.arch.attention import roped
from gguf_run.arch.blocks import embed, head, layer_norm, mlp
from gguf_run.arch.builder import Builder
from gguf_run.arch.layers import pre_norm
from gguf_run.arch.registry import architecture
from gguf_run.graph import RopeMode, Tensor


@architecture("starcoder2")
def starcoder2(b: Builder) -> Tensor:
    x = pre_norm(b, embed(b), roped(b, RopeMode.NEOX), mlp, norm=layer_norm)
    return head(b, x, layer_norm)
