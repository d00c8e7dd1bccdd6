"""Families that are Llama but for RoPE's pairs: InternLM 2 (arXiv:2403.17297), XVERSE, Baichuan 2's
7B (arXiv:2309.10305), ERNIE 4.5's dense models, EXAONE 3 (arXiv:2408.03541), Seed-OSS, Pangu's
dense models (arXiv:2505.22375), PaddleOCR's texts."""

from __future__ import annotations

from gguf_run.arch.attention import rope_factors, roped
from gguf_run.arch.blocks import embed, ffn, head
from gguf_run.arch.builder import Builder
from gguf_run.arch.layers import pre_norm
from gguf_run.arch.registry import architecture
from gguf_run.graph import RopeMode, Tensor


@architecture("internlm2", "xverse", "ernie4_5")
def neighbours(b: Builder) -> Tensor:
    return head(b, pre_norm(b, embed(b), roped(b, RopeMode.NORM), ffn))


@architecture("exaone")
def exaone(b: Builder) -> Tensor:
    return head(b, pre_norm(b, embed(b), roped(b, RopeMode.NEOX, rope_factors(b)), ffn))


@architecture("pangu-embedded", "paddleocr")
def pangu(b: Builder) -> Tensor:
    return head(b, pre_norm(b, embed(b), roped(b, RopeMode.NEOX), ffn))


@architecture("seed_oss")
def seed_oss(b: Builder) -> Tensor:
    """`post_attention_norm` is the norm before the feed-forward."""
    attend = roped(b, RopeMode.NEOX)
    return head(b, pre_norm(b, embed(b), attend, ffn, ffn_norm="post_attention_norm"))
