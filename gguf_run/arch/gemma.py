"""Gemma 1 to 3 (arXiv:2403.08295, arXiv:2408.00118, arXiv:2503.19786).

The embedding is scaled by the square root of its width, the feed-forward is gated by GELU; the
files hold norm weights with the one already added.
"""

from __future__ import annotations

from functools import partial

from gguf_run.arch.attention import local_rope, rope_params, roped, window, window_rope, windowed
from gguf_run.arch.blocks import embed, ffn, head, linear, rms_norm
from gguf_run.arch.builder import Builder
from gguf_run.arch.layers import pre_norm, sandwich
from gguf_run.arch.registry import architecture, encoder
from gguf_run.graph import AttentionParams, RopeMode, Tensor

geglu_ffn = partial(ffn, glu="geglu")


@architecture("gemma")
def gemma(b: Builder) -> Tensor:
    x = embed(b, b.hp.n_embd**0.5)
    rope = roped(b, RopeMode.NEOX)
    return head(b, pre_norm(b, x, rope, geglu_ffn))


@architecture("gemma2")
def gemma2(b: Builder) -> Tensor:
    """Soft caps on scores and logits; every second layer sees all, the others a window."""
    rope = rope_params(b, RopeMode.NEOX)
    cap = b.hp.keys.number("attn_logit_softcapping", 50.0)
    scale = _score_scale(b, n_layer_of_27b=46)

    def params(il: int) -> AttentionParams:
        return AttentionParams(scale, window(b, il, period=2, default=4096), cap)

    attend = windowed(rope, window_rope(b, rope), params)
    x = sandwich(b, embed(b, b.hp.n_embd**0.5), attend, geglu_ffn)
    return b.g.softcap(head(b, x), b.hp.keys.number("final_logit_softcapping", 30.0))


@architecture("gemma3")
def gemma3(b: Builder) -> Tensor:
    """Five layers with a window, which turn q and k faster, then one that sees all."""
    rope = rope_params(b, RopeMode.NEOX)
    scale = _score_scale(b, n_layer_of_27b=62)

    def params(il: int) -> AttentionParams:
        return AttentionParams(scale, window(b, il, period=6))

    attend = windowed(rope, local_rope(b, rope), params)
    logits = head(b, sandwich(b, embed(b, b.hp.n_embd**0.5), attend, geglu_ffn))
    cap = b.hp.keys.number("final_logit_softcapping", 0.0)
    return b.g.softcap(logits, cap) if cap else logits


@encoder("gemma-embedding")
def gemma_embedding(b: Builder) -> Tensor:
    """As Gemma 3, but seeing both ways (arXiv:2509.20354), and perhaps with two more products."""
    rope = rope_params(b, RopeMode.NEOX)
    scale = b.hp.head_dim_k**-0.5

    def params(il: int) -> AttentionParams:
        return AttentionParams(scale, window(b, il, period=6), causal=False)

    attend = windowed(rope, local_rope(b, rope), params)
    x = sandwich(b, embed(b, b.hp.n_embd**0.5), attend, geglu_ffn)
    x = rms_norm(b, b.g.get_rows(x, b.out_rows), "output_norm")
    if b.has("dense_2.weight"):
        x = linear(b, x, "dense_2", b.hp.keys.integer("dense_2_feat_out"))
        x = linear(b, x, "dense_3", b.hp.n_embd)
    b.hidden = x
    return x


def _score_scale(b: Builder, n_layer_of_27b: int) -> float:
    """The 27B models, known by their layers, divide by the root of n_embd / n_head."""
    largest = b.hp.n_layer == n_layer_of_27b
    size = b.hp.n_embd // b.hp.n_head[0] if largest else b.hp.head_dim_k
    return float(size**-0.5)
