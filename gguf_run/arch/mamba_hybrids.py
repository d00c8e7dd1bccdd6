"""Models with layers of Mamba and layers of attention: Jamba (arXiv:2403.19887), Falcon-H1
(arXiv:2507.22448), Granite 4, Nemotron-H (arXiv:2504.03624)."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from gguf_run.arch.attention import attention, rope_params
from gguf_run.arch.blocks import (
    Part,
    embed,
    ffn,
    head,
    linear,
    norm_by_either_name,
    squared_relu,
    squared_relu_mlp,
)
from gguf_run.arch.builder import Builder
from gguf_run.arch.granite import granite_attention, granite_layers
from gguf_run.arch.layers import pre_norm
from gguf_run.arch.mamba import mamba2_layer, mamba_layer, one_part_a_layer
from gguf_run.arch.moe import choice, expert_linear, experts, router, router_by_keys
from gguf_run.arch.registry import architecture
from gguf_run.graph import AttentionParams, Gating, RopeMode, Tensor


def _by_heads(attend: Part, recurrent: Part) -> Part:
    """`attend` in layers with KV heads, `recurrent` in all others."""

    def mix(b: Builder, x: Tensor, il: int) -> Tensor:
        return attend(b, x, il) if b.hp.n_head_kv[il] else recurrent(b, x, il)

    return mix


@architecture("jamba")
def jamba(b: Builder) -> Tensor:
    """Attention knows no positions: Mamba's layers tell them."""
    attend = partial(attention, rope=None)
    return head(b, pre_norm(b, embed(b), _by_heads(attend, mamba_layer), jamba_ffn))


def jamba_ffn(b: Builder, x: Tensor, il: int) -> Tensor:
    if not b.has(f"blk.{il}.ffn_gate_inp.weight"):
        return ffn(b, x, il)
    return experts(b, x, il, router(b, normalise=False), b.hp.n_ff[il])


@architecture("falcon-h1")
def falcon_h1(b: Builder) -> Tensor:
    """Attention and Mamba 2 side by side, of one norm."""
    scores = AttentionParams(b.hp.keys.number("attention.scale", 0.0) or b.hp.head_dim_v**-0.5)
    attend = partial(attention, rope=rope_params(b, RopeMode.NEOX), params=scores)

    def mix(b: Builder, x: Tensor, il: int) -> Tensor:
        return b.g.add(attend(b, x, il), mamba2_layer(b, x, il))

    return head(b, pre_norm(b, embed(b), mix, ffn, norm=norm_by_either_name))


@architecture("granitehybrid")
def granite_hybrid(b: Builder) -> Tensor:
    return granite_layers(b, _by_heads(granite_attention(b), mamba2_layer))


@architecture("nemotron_h", "nemotron_h_moe")
def nemotron_h(b: Builder) -> Tensor:
    """A layer is attention, a feed-forward or Mamba 2."""
    if b.hp.keys.get("attention.layer_norm_rms_epsilon") is None:
        b.hp = replace(b.hp, norm_rms_eps=b.hp.norm_eps)
    scores = AttentionParams(b.hp.keys.number("attention.scale", 0.0) or b.hp.head_dim_v**-0.5)
    mix = _by_heads(partial(attention, rope=None, params=scores), mamba2_layer)

    def part(b: Builder, x: Tensor, il: int) -> Tensor:
        return nemotron_h_ffn(b, x, il) if b.hp.n_ff[il] else mix(b, x, il)

    return head(b, one_part_a_layer(b, embed(b), part))


def nemotron_h_ffn(b: Builder, x: Tensor, il: int) -> Tensor:
    """The square of a ReLU, or experts of that beside a shared one; experts may work on a narrower
    vector than the layers."""
    keys, name = b.hp.keys, f"blk.{il}.ffn"
    if not b.has(f"{name}_gate_inp.weight"):
        return squared_relu_mlp(b, x, il)
    params = replace(router_by_keys(b, Gating.SIGMOID), gating=Gating.SIGMOID)
    ids, weights = choice(b, x, il, params)
    width = keys.integer("moe_latent_size", 0, low=0) or b.hp.n_embd
    has_latent = b.has(f"{name}_latent_down.weight")
    narrow = linear(b, x, f"{name}_latent_down", width) if has_latent else x
    default = (b.hp.n_ff[il] // params.n_used,) * b.hp.n_layer
    n_ff = keys.per_layer("expert_feed_forward_length", b.hp.n_layer, default)[il] or default[il]
    rows = b.g.reshape(narrow, x.shape[0], 1, width)
    up = squared_relu(b, expert_linear(b, rows, f"{name}_up_exps", n_ff, ids))
    routed = b.g.moe_sum(expert_linear(b, up, f"{name}_down_exps", width, ids), weights)
    if b.has(f"{name}_latent_up.weight"):
        routed = linear(b, routed, f"{name}_latent_up", b.hp.n_embd)
    n_shared = keys.integer("expert_shared_feed_forward_length")
    shared = squared_relu(b, linear(b, x, f"{name}_up_shexp", n_shared))
    return b.g.add(routed, linear(b, shared, f"{name}_down_shexp", b.hp.n_embd))
