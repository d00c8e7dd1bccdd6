"""Families whose attention knows distances alone, by ALiBi (arXiv:2108.12409): BLOOM
(arXiv:2211.05100), MPT, Refact, Jais (arXiv:2308.16149) and Baichuan's 13B."""

from __future__ import annotations

from functools import partial

from gguf_run.arch.attention import (
    attention,
    learned_positions,
    qkv,
    rotate_and_attend,
    split_heads,
)
from gguf_run.arch.blocks import Part, embed, ffn, head, layer_norm, mlp
from gguf_run.arch.builder import Builder
from gguf_run.arch.layers import pre_norm
from gguf_run.arch.registry import architecture
from gguf_run.graph import AttentionParams, Tensor

MAX_BIAS = 8.0
"""Where the file names none."""


def alibi_params(b: Builder, max_bias: float = MAX_BIAS) -> AttentionParams:
    """Scores over the square root of the head size, less with the distance."""
    return AttentionParams(b.hp.head_dim_k**-0.5, max_bias=max_bias)


def alibi(b: Builder, params: AttentionParams | None = None) -> Part:
    return partial(attention, rope=None, params=params or alibi_params(b))


@architecture("bloom")
def bloom(b: Builder) -> Tensor:
    """The embedding is normalised."""
    x = layer_norm(b, embed(b), "token_embd_norm")
    return head(b, pre_norm(b, x, alibi(b), mlp, norm=layer_norm), layer_norm)


@architecture("mpt")
def mpt(b: Builder) -> Tensor:
    """Learned positions where the file has them."""
    x = embed(b)
    if b.has("position_embd.weight"):
        x = b.g.add(x, learned_positions(b))
    return head(b, pre_norm(b, x, mpt_attention, mlp, norm=layer_norm), layer_norm)


def mpt_attention(b: Builder, x: Tensor, il: int) -> Tensor:
    """q, k and v are kept within a bound; q and k may be normalised over all heads at once."""
    keys, name = b.hp.keys, f"blk.{il}.attn"
    limit = keys.number("attention.clamp_kqv", 0.0)
    q, k, v = (b.g.clamp(t, limit) if limit else t for t in qkv(b, x, il))
    if b.has(f"{name}_q_norm.weight"):
        q, k = layer_norm(b, q, f"{name}_q_norm"), layer_norm(b, k, f"{name}_k_norm")
    params = alibi_params(b, keys.number("attention.max_alibi_bias", 0.0))
    return rotate_and_attend(b, *split_heads(b, q, k, v), il, None, params=params)


@architecture("refact")
def refact(b: Builder) -> Tensor:
    return head(b, pre_norm(b, embed(b), alibi(b), ffn))


@architecture("jais")
def jais(b: Builder) -> Tensor:
    """Scores over the head size itself (arXiv:2203.03466)."""
    max_bias = b.hp.keys.number("attention.max_alibi_bias", 0.0)
    attend = alibi(b, AttentionParams(1 / b.hp.head_dim_v, max_bias=max_bias))
    return head(b, pre_norm(b, embed(b), attend, ffn, norm=layer_norm), layer_norm)
