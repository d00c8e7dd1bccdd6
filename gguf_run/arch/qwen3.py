"""Qwen 3 (arXiv:2505.09388): q and k are RMS-normed per head before RoPE; no biases; its mixture of
experts, without a shared one; the texts of Qwen3-VL; and OpenELM (arXiv:2404.14619), whose layers
differ in heads and width."""

from __future__ import annotations

from gguf_run.arch.attention import roped
from gguf_run.arch.blocks import embed, ffn, head
from gguf_run.arch.builder import Builder
from gguf_run.arch.layers import pre_norm
from gguf_run.arch.moe import experts, router
from gguf_run.arch.registry import architecture
from gguf_run.graph import RopeMode, Tensor


@architecture("qwen3", "qwen3vl", "openelm")
def qwen3(b: Builder) -> Tensor:
    return head(b, pre_norm(b, embed(b), roped(b, RopeMode.NEOX), ffn))


@architecture("qwen3moe", "qwen3vlmoe")
def qwen3moe(b: Builder) -> Tensor:
    return head(b, pre_norm(b, embed(b), roped(b, RopeMode.NEOX), qwen3moe_ffn))


def qwen3moe_ffn(b: Builder, x: Tensor, il: int) -> Tensor:
    params = router(b)
    n_ff = b.hp.keys.integer("expert_feed_forward_length", b.hp.n_ff[il] // params.n_used)
    return experts(b, x, il, params, n_ff)
