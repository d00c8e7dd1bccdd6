"""Qwen 2 and 2.5 (arXiv:2407.10671, arXiv:2412.15115), with biases on q, k and v; the texts of
Qwen2-VL (arXiv:2409.12191); and the mixture of experts, whose gates are not normalised and whose
shared expert has a gate of its own."""

from __future__ import annotations

from gguf_run.arch.attention import roped
from gguf_run.arch.blocks import embed, ffn, head
from gguf_run.arch.builder import Builder
from gguf_run.arch.layers import pre_norm
from gguf_run.arch.moe import experts_and_gated_shared, router
from gguf_run.arch.registry import architecture
from gguf_run.graph import RopeMode, Tensor


@architecture("qwen2", "qwen2vl")
def qwen2(b: Builder) -> Tensor:
    return head(b, pre_norm(b, embed(b), roped(b, RopeMode.NEOX), ffn))


@architecture("qwen2moe")
def qwen2moe(b: Builder) -> Tensor:
    return head(b, pre_norm(b, embed(b), roped(b, RopeMode.NEOX), qwen2moe_ffn))


def qwen2moe_ffn(b: Builder, x: Tensor, il: int) -> Tensor:
    return experts_and_gated_shared(b, x, il, router(b, normalise=False))
