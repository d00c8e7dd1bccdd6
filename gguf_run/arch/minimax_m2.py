"""MiniMax-M2: q and k normalised over all heads, partial RoPE, experts chosen by scores plus a
bias."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from gguf_run.arch.attention import rope_params, wide_norm_attention
from gguf_run.arch.blocks import embed, head
from gguf_run.arch.builder import Builder
from gguf_run.arch.layers import pre_norm
from gguf_run.arch.moe import experts, router_by_keys
from gguf_run.arch.registry import architecture
from gguf_run.graph import Gating, RopeMode, Tensor


@architecture("minimax-m2")
def minimax_m2(b: Builder) -> Tensor:
    attend = partial(wide_norm_attention, rope=rope_params(b, RopeMode.NEOX))
    return head(b, pre_norm(b, embed(b), attend, minimax_m2_ffn))


def minimax_m2_ffn(b: Builder, x: Tensor, il: int) -> Tensor:
    params = replace(router_by_keys(b, Gating.SIGMOID), normalise=True, scale=1.0)
    return experts(b, x, il, params, b.hp.n_ff[il])
