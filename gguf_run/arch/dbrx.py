"""DBRX: layer norms without bias, clamped q, k and v, sixteen experts."""

from __future__ import annotations

from functools import partial

from gguf_run.arch.attention import clamped_attention, rope_params
from gguf_run.arch.blocks import embed, head, layer_norm
from gguf_run.arch.builder import Builder
from gguf_run.arch.layers import pre_norm
from gguf_run.arch.llama import mixtral_ffn
from gguf_run.arch.registry import architecture
from gguf_run.graph import RopeMode, Tensor


@architecture("dbrx")
def dbrx(b: Builder) -> Tensor:
    """`attn_output_norm` is the norm before the experts."""
    attend = partial(clamped_attention, rope=rope_params(b, RopeMode.NEOX))
    x = pre_norm(b, embed(b), attend, mixtral_ffn, norm=layer_norm, ffn_norm="attn_output_norm")
    return head(b, x, layer_norm)
