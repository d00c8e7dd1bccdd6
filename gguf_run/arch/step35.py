"""Step 3.5: three of four layers see a window and have more heads; layers that see all turn half as
many elements; a sigmoid a head multiplies what attention finds; gated units may be limited."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from gguf_run.arch.attention import (
    attend,
    attention_params,
    head_norms,
    local_rope,
    qkv_heads,
    rope_params,
    times_heads,
    window,
)
from gguf_run.arch.blocks import embed, head, linear
from gguf_run.arch.builder import Builder
from gguf_run.arch.layers import pre_norm
from gguf_run.arch.moe import experts, router_by_keys
from gguf_run.arch.registry import architecture
from gguf_run.graph import Gating, RopeMode, RopeParams, Tensor

LEAST_LIMIT = 1e-6
"""Smaller ones limit nothing."""


@architecture("step35")
def step35(b: Builder) -> Tensor:
    return head(b, pre_norm(b, embed(b), step35_attention, step35_ffn))


def _rope(b: Builder, has_window: bool) -> tuple[RopeParams, Tensor | None]:
    """The file's factors are for as many pairs as layers with a window turn."""
    rope, n_local = rope_params(b, RopeMode.NEOX), b.hp.n_rot
    n_local = b.hp.keys.integer("rope.dimension_count_swa", n_local, high=b.hp.head_dim_k)
    if has_window:
        return replace(local_rope(b, rope), n_dims=n_local), None
    n_dims = rope.n_dims // 2
    factors = b.maybe("rope_freqs.weight", max(n_local, n_dims) // 2)
    factors = None if factors is None else b.g.view(factors, 0, n_dims // 2)
    return replace(rope, n_dims=n_dims), factors


def step35_attention(b: Builder, x: Tensor, il: int) -> Tensor:
    g, size, name = b.g, window(b, il, period=1), f"blk.{il}.attn"
    rope, factors = _rope(b, size > 0)
    q, k, v = qkv_heads(b, x, il)
    q, k = head_norms(b, q, k, il)
    q, k = (g.rope(t, b.positions, rope, factors) for t in (q, k))
    found = attend(b, q, k, v, il, attention_params(b, size))
    if b.has(f"{name}_gate.weight"):
        gate = g.unary("sigmoid", linear(b, x, f"{name}_gate", q.shape[1]))
        found = times_heads(b, found, gate)
    return linear(b, found, f"{name}_output", b.hp.n_embd)


def step35_ffn(b: Builder, x: Tensor, il: int) -> Tensor:
    """The shared expert has a limit of its own, which dense layers share."""
    keys, n_layer, name = b.hp.keys, b.hp.n_layer, f"blk.{il}.ffn"
    limits = (keys.numbers(f"swiglu_clamp_{which}", n_layer, 0.0)[il] for which in ("exp", "shexp"))
    routed_glu, glu = (partial(_limited, limit=limit) for limit in limits)

    def gated(suffix: str, n_ff: int) -> Tensor:
        gate, up = (linear(b, x, f"{name}_{part}{suffix}", n_ff) for part in ("gate", "up"))
        return linear(b, glu(b, gate, up), f"{name}_down{suffix}", b.hp.n_embd)

    if not b.has(f"{name}_gate_inp.weight"):
        return gated("", b.hp.n_ff[il])
    params, n_ff = router_by_keys(b, Gating.SIGMOID), keys.integer("expert_feed_forward_length")
    routed = experts(b, x, il, params, n_ff, routed_glu)
    return b.g.add(routed, gated("_shexp", keys.integer("expert_shared_feed_forward_length")))


def _limited(b: Builder, gate: Tensor, up: Tensor, limit: float) -> Tensor:
    """silu(gate) up, each part at most `limit` (silu has no values below -0.28)."""
    if limit <= LEAST_LIMIT:
        return b.g.glu("swiglu", gate, up)
    opened = b.g.clamp(b.g.unary("silu", gate), limit)
    return b.g.mul(opened, b.g.clamp(up, limit))
