"""StableLM (arXiv:2402.17834): layer norms, partial RoPE; the 12B normalises q and k by head and
runs attention and feed-forward side by side."""

from __future__ import annotations

from functools import partial

from gguf_run.arch.attention import attention, rope_params
from gguf_run.arch.blocks import embed, ffn, head, layer_norm, layer_norm_heads
from gguf_run.arch.builder import Builder
from gguf_run.arch.layers import parallel, pre_norm
from gguf_run.arch.registry import architecture
from gguf_run.graph import RopeMode, Tensor


@architecture("stablelm")
def stablelm(b: Builder) -> Tensor:
    attend = partial(attention, rope=rope_params(b, RopeMode.NEOX), norm=layer_norm_heads)
    if b.has("blk.0.ffn_norm.weight"):
        return head(b, pre_norm(b, embed(b), attend, ffn, norm=layer_norm), layer_norm)
    return head(b, parallel(b, embed(b), attend, ffn), layer_norm)
