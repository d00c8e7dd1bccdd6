"""ChatGLM 2 and 3, GLM 4 9B (arXiv:2406.12793): fused QKV with biases and fused gate-up, RoPE over
half of each head."""

from __future__ import annotations

from gguf_run.arch.attention import roped
from gguf_run.arch.blocks import embed, ffn, head
from gguf_run.arch.builder import Builder
from gguf_run.arch.layers import pre_norm
from gguf_run.arch.registry import architecture
from gguf_run.graph import RopeMode, Tensor


@architecture("chatglm")
def chatglm(b: Builder) -> Tensor:
    return head(b, pre_norm(b, embed(b), roped(b, RopeMode.NORM), ffn))
