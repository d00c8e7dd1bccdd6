"""Command R (arXiv:2504.00698) and its successors: attention and feed-forward side by side of one
layer norm without bias, logits times a factor; the second turns q and k only where it sees a
window, in three of four layers."""

from __future__ import annotations

from functools import partial

from gguf_run.arch.attention import attention, attention_params, rope_factors, rope_params, window
from gguf_run.arch.blocks import embed, ffn, head, layer_norm, layer_norm_heads, scaled
from gguf_run.arch.builder import Builder
from gguf_run.arch.layers import parallel
from gguf_run.arch.registry import architecture
from gguf_run.graph import RopeMode, Tensor


@architecture("command-r")
def command_r(b: Builder) -> Tensor:
    attend = partial(attention, rope=rope_params(b, RopeMode.NORM), norm=layer_norm_heads)
    return _scaled_head(b, parallel(b, embed(b), attend, ffn))


@architecture("cohere2")
def cohere2(b: Builder) -> Tensor:
    rope, factors = rope_params(b, RopeMode.NORM), rope_factors(b)

    def attend(b: Builder, x: Tensor, il: int) -> Tensor:
        params = attention_params(b, window(b, il, period=4))
        return attention(b, x, il, rope if params.window else None, factors, params)

    return _scaled_head(b, parallel(b, embed(b), attend, ffn))


def _scaled_head(b: Builder, x: Tensor) -> Tensor:
    return scaled(b, head(b, x, layer_norm), b.hp.keys.number("logit_scale"))
