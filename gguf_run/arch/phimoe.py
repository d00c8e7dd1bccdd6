"""Phi 3.5 MoE (arXiv:2404.14219): Phi 3 with biases everywhere, also of norms, and experts."""

from __future__ import annotations

from gguf_run.arch.attention import rope_factors, roped
from gguf_run.arch.blocks import embed, head, rms_norm
from gguf_run.arch.builder import Builder
from gguf_run.arch.layers import pre_norm
from gguf_run.arch.llama import mixtral_ffn
from gguf_run.arch.registry import architecture
from gguf_run.graph import RopeMode, Tensor


@architecture("phimoe")
def phimoe(b: Builder) -> Tensor:
    attend = roped(b, RopeMode.NEOX, rope_factors(b))
    x = pre_norm(b, embed(b), attend, mixtral_ffn, norm=biased_rms_norm)
    return head(b, x, biased_rms_norm)


def biased_rms_norm(b: Builder, x: Tensor, name: str) -> Tensor:
    return b.g.add(rms_norm(b, x, name), b.weight(f"{name}.bias", x.shape[-1]))
