"""Kimi Linear (arXiv:2510.26692): three of four layers have linear attention by the delta rule with
a decay for each element of a key, the fourth has latent attention without positions; a few dense
layers, then experts beside a shared one."""

from __future__ import annotations

from functools import partial

from gguf_run.arch.attention import heads, times_heads
from gguf_run.arch.blocks import embed, ffn, head, linear, rms_norm
from gguf_run.arch.builder import Builder
from gguf_run.arch.delta import convolve, keep_states, unit_rows
from gguf_run.arch.layers import pre_norm
from gguf_run.arch.mla import Latent, latent_attention
from gguf_run.arch.moe import experts, router_by_keys, shared_expert
from gguf_run.arch.registry import architecture
from gguf_run.graph import AttentionParams, DeltaParams, Gating, Tensor


@architecture("kimi-linear")
def kimi_linear(b: Builder) -> Tensor:
    keys, n_rot = b.hp.keys, b.hp.n_rot
    d_k = keys.integer("attention.key_length_mla", low=n_rot + 1)
    m = Latent(
        n_latent=keys.integer("attention.kv_lora_rank"),
        n_nope=d_k - n_rot,
        n_rot=n_rot,
        n_value=keys.integer("attention.value_length_mla"),
        absorbed=True,
        rope=None,
        factors=None,
        scores=AttentionParams(d_k**-0.5),
    )
    softmax = partial(latent_attention, m=m)

    def mix(b: Builder, x: Tensor, il: int) -> Tensor:
        return softmax(b, x, il) if b.hp.n_head_kv[il] else kimi_delta_attention(b, x, il)

    return head(b, pre_norm(b, embed(b), mix, kimi_linear_ffn))


def kimi_delta_attention(b: Builder, x: Tensor, il: int) -> Tensor:
    g, name, n_head, n_tok = b.g, f"blk.{il}.ssm", b.hp.n_head[il], x.shape[0]
    d = b.hp.keys.integer("kda.head_dim")
    q, k, v = (heads(b, _convolved(b, x, il, part, n_head * d), d) for part in "qkv")
    states = b.states(il, "delta", n_head * d * d)
    beta = linear(b, x, f"{name}_beta", n_head)
    both = g.gated_delta_net(
        (unit_rows(b, q, d**-0.5), unit_rows(b, k), v),
        _decay(b, x, il, beta, d),
        g.unary("sigmoid", beta),
        states,
        b.seq_ids,
        b.state_in,
        DeltaParams(in_turn=False),
    )
    o = g.reshape(keep_states(b, both, states, n_tok * n_head * d), n_tok, n_head, d)
    gate = linear(b, linear(b, x, f"{name}_g_a", d), f"{name}_g_b", n_head * d)
    normed = g.reshape(rms_norm(b, o, f"{name}_norm"), n_tok, n_head * d)
    gated = g.mul(normed, g.unary("sigmoid", gate))
    return linear(b, gated, f"blk.{il}.attn_output", b.hp.n_embd)


def _convolved(b: Builder, x: Tensor, il: int, part: str, n: int) -> Tensor:
    """Queries, keys or values (n_tok, n) behind a convolution of their own."""
    n_tap = b.hp.keys.integer("ssm.conv_kernel", low=2)
    w = b.weight(f"blk.{il}.ssm_conv1d_{part}.weight", n, 1, n_tap)
    projected = linear(b, x, f"blk.{il}.attn_{part}", n)
    convolved = convolve(b, il, projected, b.g.reshape(w, n, n_tap), f"conv_{part}")
    return b.g.unary("silu", convolved)


def _decay(b: Builder, x: Tensor, il: int, beta: Tensor, d: int) -> Tensor:
    """Logarithms of what each element of a key keeps: (n_tok, n_head, d); beta (n_tok, n_head)."""
    g, name, n_head = b.g, f"blk.{il}.ssm", beta.shape[1]
    steps = linear(b, linear(b, x, f"{name}_f_a", d), f"{name}_f_b", n_head * d)
    steps = g.unary("softplus", g.add(steps, b.weight(f"{name}_dt.bias", n_head * d)))
    ones = g.scale(beta, 0.0, bias=1.0)
    rates = g.mul(ones, b.vector(f"{name}_a", n_head, 1))
    return heads(b, times_heads(b, steps, rates), d)


def kimi_linear_ffn(b: Builder, x: Tensor, il: int) -> Tensor:
    keys = b.hp.keys
    if il < keys.integer("leading_dense_block_count", 0, low=0):
        return ffn(b, x, il)
    n_ff = keys.integer("expert_feed_forward_length")
    routed = experts(b, x, il, router_by_keys(b, Gating.SIGMOID, normalise=True), n_ff)
    n_shared = n_ff * max(1, keys.integer("expert_shared_count", low=0))
    return b.g.add(routed, shared_expert(b, x, il, n_shared))
