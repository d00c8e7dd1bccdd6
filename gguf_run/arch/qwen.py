"""Qwen 1 (arXiv:2309.16609): the file's feed-forward length counts gate and up together."""

from __future__ import annotations

from gguf_run.arch.attention import roped
from gguf_run.arch.blocks import embed, gated_ffn, head
from gguf_run.arch.builder import Builder
from gguf_run.arch.layers import pre_norm
from gguf_run.arch.registry import architecture
from gguf_run.graph import RopeMode, Tensor


@architecture("qwen")
def qwen(b: Builder) -> Tensor:
    return head(b, pre_norm(b, embed(b), roped(b, RopeMode.NEOX), qwen_ffn))


def qwen_ffn(b: Builder, x: Tensor, il: int) -> Tensor:
    return gated_ffn(b, x, f"blk.{il}.ffn", b.hp.n_ff[il] // 2)
