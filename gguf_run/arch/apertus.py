"""Apertus (arXiv:2509.14233): Llama with normalised queries and keys and with xIELU in a plain
feed-forward, whose parameters differ from layer to layer."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from math import exp, log1p

from gguf_run.arch.attention import attention, rope_factors, rope_params
from gguf_run.arch.blocks import embed, head, linear
from gguf_run.arch.builder import Builder
from gguf_run.arch.layers import pre_norm
from gguf_run.arch.registry import architecture
from gguf_run.graph import AttentionParams, RopeMode, Tensor, XieluParams


@architecture("apertus")
def apertus(b: Builder) -> Tensor:
    scores = AttentionParams(b.hp.keys.number("attention.scale", 0.0) or b.hp.head_dim_v**-0.5)
    rope, factors = rope_params(b, RopeMode.NEOX), rope_factors(b)
    attend = partial(attention, rope=rope, factors=factors, params=scores)
    return head(b, pre_norm(b, embed(b), attend, apertus_ffn))


def apertus_ffn(b: Builder, x: Tensor, il: int) -> Tensor:
    up = b.g.xielu(linear(b, x, f"blk.{il}.ffn_up", b.hp.n_ff[il]), _activation(b, il))
    return linear(b, up, f"blk.{il}.ffn_down", b.hp.n_embd)


def _activation(b: Builder, il: int) -> XieluParams:
    """The file holds what softplus makes coefficients of, under keys without the architecture."""
    alpha_n, alpha_p, beta, eps = (
        replace(b.hp.keys, arch="xielu").numbers(name, b.hp.n_layer)[il]
        for name in ("alpha_n", "alpha_p", "beta", "eps")
    )
    return XieluParams(beta + _softplus(alpha_n), _softplus(alpha_p), beta, eps)


def _softplus(x: float) -> float:
    return x + log1p(exp(-x)) if x > 0 else log1p(exp(x))
