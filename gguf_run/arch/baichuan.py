"""Baichuan (arXiv:2309.10305): the 7B is Llama; the 13B has ALiBi in place of RoPE."""

from __future__ import annotations

from gguf_run.arch.alibi import alibi
from gguf_run.arch.attention import roped
from gguf_run.arch.blocks import embed, ffn, head
from gguf_run.arch.builder import Builder
from gguf_run.arch.layers import pre_norm
from gguf_run.arch.registry import architecture
from gguf_run.graph import RopeMode, Tensor

N_LAYER_OF_13B = 40


@architecture("baichuan")
def baichuan(b: Builder) -> Tensor:
    attend = alibi(b) if b.hp.n_layer == N_LAYER_OF_13B else roped(b, RopeMode.NORM)
    return head(b, pre_norm(b, embed(b), attend, ffn))
