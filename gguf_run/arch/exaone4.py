"""EXAONE 4 (arXiv:2507.11407): norms of what layers add, q and k normalised by head; in the 32B
three of four layers see a window, and only those have positions."""

from __future__ import annotations

from gguf_run.arch.attention import attention, attention_params, rope_factors, rope_params, window
from gguf_run.arch.blocks import embed, ffn, head
from gguf_run.arch.builder import Builder
from gguf_run.arch.layers import post_norm
from gguf_run.arch.registry import architecture
from gguf_run.graph import RopeMode, Tensor

N_LAYER_OF_32B = 64


@architecture("exaone4")
def exaone4(b: Builder) -> Tensor:
    rope, factors = rope_params(b, RopeMode.NEOX), rope_factors(b)
    has_windows = b.hp.n_layer == N_LAYER_OF_32B

    def attend(b: Builder, x: Tensor, il: int) -> Tensor:
        params = attention_params(b, window(b, il, 4, default=4096) if has_windows else 0)
        rotates = params.window or not has_windows
        return attention(b, x, il, rope if rotates else None, factors, params)

    return head(b, post_norm(b, embed(b), attend, ffn))
