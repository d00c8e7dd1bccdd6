"""Mellum 2: Qwen 3's mixture of experts with windows in three of four layers, where RoPE is not
stretched."""

from __future__ import annotations

from dataclasses import replace

from gguf_run.arch.attention import attention_params, rope_params, window, windowed
from gguf_run.arch.blocks import embed, head
from gguf_run.arch.builder import Builder
from gguf_run.arch.layers import pre_norm
from gguf_run.arch.qwen3 import qwen3moe_ffn
from gguf_run.arch.registry import architecture
from gguf_run.graph import AttentionParams, RopeMode, Tensor

PERIOD = 4


@architecture("mellum")
def mellum(b: Builder) -> Tensor:
    rope = rope_params(b, RopeMode.NEOX)
    local = replace(rope, freq_scale=1.0, ext_factor=0.0, attn_factor=1.0)

    def params(il: int) -> AttentionParams:
        return attention_params(b, window(b, il, PERIOD))

    attend = windowed(rope, local, params)
    return head(b, pre_norm(b, embed(b), attend, qwen3moe_ffn))
