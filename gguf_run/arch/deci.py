"""DeciLM and Nemotron's models cut out of Llama (arXiv:2411.19146): heads and widths differ from
layer to layer; a layer's attention may be a product alone, or missing."""

from __future__ import annotations

from functools import partial

from gguf_run.arch.attention import attention, rope_factors, rope_params
from gguf_run.arch.blocks import embed, ffn, head, linear, rms_norm
from gguf_run.arch.builder import Builder
from gguf_run.arch.registry import architecture
from gguf_run.graph import AttentionParams, RopeMode, Tensor


@architecture("deci")
def deci(b: Builder) -> Tensor:
    hp, g, x = b.hp, b.g, embed(b)
    scores = AttentionParams(hp.keys.number("attention.scale", 0.0) or hp.head_dim_k**-0.5)
    attend = partial(
        attention, rope=rope_params(b, RopeMode.NORM), factors=rope_factors(b), params=scores
    )
    for il in range(hp.n_layer):
        if not hp.n_ff[il]:
            continue
        if hp.n_head[il]:
            normed = rms_norm(b, x, f"blk.{il}.attn_norm")
            has_heads = hp.n_head_kv[il] > 0
            found = attend(b, normed, il) if has_heads else _product(b, normed, il)
            x = g.add(x, found)
        x = g.add(x, ffn(b, rms_norm(b, x, f"blk.{il}.ffn_norm"), il))
    return head(b, x)


def _product(b: Builder, x: Tensor, il: int) -> Tensor:
    return linear(b, x, f"blk.{il}.attn_output", b.hp.n_embd)
