"""Llama 4: of four layers three see a chunk of the text, with RoPE, the fourth sees all, without
positions (arXiv:2305.19466) and with scores that grow with the length (arXiv:2501.19399); experts'
inputs, not their results, are multiplied by the router's sigmoids."""

from __future__ import annotations

from gguf_run.arch.attention import qkv_heads, rope_factors, rope_params, rotate_and_attend
from gguf_run.arch.blocks import embed, ffn, head
from gguf_run.arch.builder import Builder
from gguf_run.arch.layers import pre_norm
from gguf_run.arch.moe import choice, expert_linear, router, shared_expert
from gguf_run.arch.registry import architecture
from gguf_run.graph import AttentionParams, Gating, RopeMode, TemperatureParams, Tensor

CHUNK = 8192
PERIOD = 4
TEMPERATURE = TemperatureParams(growth=0.1, length=CHUNK, offset=1.0)
N_EXPERT_OF_MAVERICK = 128
"""The model that doesn't normalise queries and keys."""


@architecture("llama4")
def llama4(b: Builder) -> Tensor:
    return head(b, pre_norm(b, embed(b), llama4_attention, llama4_ffn))


def llama4_attention(b: Builder, x: Tensor, il: int) -> Tensor:
    g, keys = b.g, b.hp.keys
    scale = keys.number("attention.scale", 0.0) or b.hp.head_dim_v**-0.5
    q, k, v = qkv_heads(b, x, il)
    if (il + 1) % PERIOD == 0:
        q = g.scale_by_position(q, b.positions, TEMPERATURE)
        return rotate_and_attend(b, q, k, v, il, None, params=AttentionParams(scale))
    rope, factors = rope_params(b, RopeMode.NORM), rope_factors(b)
    q, k = (g.rope(t, b.positions, rope, factors) for t in (q, k))
    if keys.integer("expert_count") != N_EXPERT_OF_MAVERICK:
        q, k = (g.rms_norm(t, b.hp.norm_rms_eps) for t in (q, k))
    return rotate_and_attend(b, q, k, v, il, None, params=AttentionParams(scale, chunk=CHUNK))


def llama4_ffn(b: Builder, x: Tensor, il: int) -> Tensor:
    """Every so many layers experts and a shared one, else a dense feed-forward."""
    g, name = b.g, f"blk.{il}.ffn"
    step = b.hp.keys.integer("interleave_moe_layer_step", low=0)
    if not step or (il + 1) % step:
        return ffn(b, x, il)
    n_ff = b.hp.keys.integer("expert_feed_forward_length")
    params = router(b, Gating.SIGMOID, normalise=False)
    ids, weights = choice(b, x, il, params)
    rows = _weighted_rows(b, x, weights)
    gate = expert_linear(b, rows, f"{name}_gate_exps", n_ff, ids)
    up = expert_linear(b, rows, f"{name}_up_exps", n_ff, ids)
    found = expert_linear(b, g.glu("swiglu", gate, up), f"{name}_down_exps", x.shape[1], ids)
    found = g.reshape(found, x.shape[0], params.n_used * x.shape[1])
    result = shared_expert(b, x, il, n_ff)
    for i in range(params.n_used):
        result = g.add(result, g.view(found, i * x.shape[1], (i + 1) * x.shape[1]))
    return result


def _weighted_rows(b: Builder, x: Tensor, weights: Tensor) -> Tensor:
    """x (n_tok, n) times each of the weights (n_tok, n_used) -> (n_tok, n_used, n)."""
    g, (n_tok, n) = b.g, x.shape
    row = g.reshape(x, n_tok, 1, n)
    several = [g.moe_sum(row, g.view(weights, i, i + 1)) for i in range(weights.shape[1])]
    rows = g.reshape(several[0], n_tok, 1, n)
    for further in several[1:]:
        rows = g.concat(rows, g.reshape(further, n_tok, 1, n))
    return g.reshape(rows, n_tok, len(several), n)
