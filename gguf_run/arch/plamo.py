"""PLaMo: attention and feed-forward side by side of one RMS norm."""

from __future__ import annotations

from gguf_run.arch.attention import roped
from gguf_run.arch.blocks import embed, ffn, head, rms_norm
from gguf_run.arch.builder import Builder
from gguf_run.arch.layers import parallel
from gguf_run.arch.registry import architecture
from gguf_run.graph import RopeMode, Tensor


@architecture("plamo")
def plamo(b: Builder) -> Tensor:
    return head(b, parallel(b, embed(b), roped(b, RopeMode.NEOX), ffn, rms_norm))
