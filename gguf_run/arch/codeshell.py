"""CodeShell (arXiv:2403.15747): GPT-2's layers with RoPE and grouped heads."""

from __future__ import annotations

from gguf_run.arch.attention import roped
from gguf_run.arch.blocks import embed, head, layer_norm, mlp
from gguf_run.arch.builder import Builder
from gguf_run.arch.layers import pre_norm
from gguf_run.arch.registry import architecture
from gguf_run.graph import RopeMode, Tensor


@architecture("codeshell")
def codeshell(b: Builder) -> Tensor:
    x = pre_norm(b, embed(b), roped(b, RopeMode.NEOX), mlp, norm=layer_norm)
    return head(b, x, layer_norm)
