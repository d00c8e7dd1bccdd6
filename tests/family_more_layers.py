"""Layers of families that are met more rarely, put together in a way of their own."""

from __future__ import annotations

from dataclasses import replace

from family_layers import KV_RANK, VALUE
from model_maker import Maker, attention, ends, feed_forward, per_layer, routed_experts

KDA_HEAD = 16


def llama4_layers(m: Maker) -> None:
    """Every second layer has experts."""
    ends(m)
    for il in range(m.variant.n_layer):
        attention(m, il)
        feed_forward(m, il, experts=il % 2 == 1)


def grok_layers(m: Maker) -> None:
    """Sandwich norms by Grok's names; `both`: a dense feed-forward beside the experts."""
    v = m.variant
    ends(m)
    for il in range(v.n_layer):
        attention(m, il)
        m.norm(f"blk.{il}.attn_output_norm", v.n_embd)
        feed_forward(m, il)
        if m.has("both"):
            m.variant = replace(v, ffn_norm="")
            feed_forward(m, il, experts=False)
            m.variant = v
        m.norm(f"blk.{il}.{'post_ffw_norm' if m.has('both') else 'layer_output_norm'}", v.n_embd)


def arctic_layers(m: Maker) -> None:
    """A dense feed-forward as wide as the layers, beside the experts."""
    v = m.variant
    ends(m)
    for il in range(v.n_layer):
        attention(m, il)
        m.variant = replace(v, n_ff=v.n_embd)
        feed_forward(m, il, experts=False)
        m.variant = v
        m.norm(f"blk.{il}.ffn_norm_exps", v.n_embd)
        routed_experts(m, il)


def deci_layers(m: Maker) -> None:
    """Layers with attention, with a product in its place, with a feed-forward alone, with none."""
    v = m.variant
    ends(m)
    for il in range(v.n_layer):
        if per_layer(v.n_head_kv, il):
            attention(m, il)
        elif per_layer(v.n_head, il):
            m.norm(f"blk.{il}.attn_norm", v.n_embd)
            m.matrix(f"blk.{il}.attn_output", v.n_embd, v.n_embd)
        if per_layer(v.n_ff, il):
            feed_forward(m, il)


def plamo3_layers(m: Maker) -> None:
    """The norms of what layers add are named without a suffix."""
    ends(m)
    for il in range(m.variant.n_layer):
        attention(m, il)
        feed_forward(m, il)
        for norm in ("post_attention_norm", "post_ffw_norm"):
            m.vector(f"blk.{il}.{norm}", m.variant.n_embd)


def hy_v3_layers(m: Maker) -> None:
    """The bias of the choice of experts is named without a suffix."""
    ends(m)
    for il in range(m.variant.n_layer):
        attention(m, il)
        feed_forward(m, il)
        if il >= m.variant.n_dense:
            m.vector(f"blk.{il}.exp_probs_b", m.variant.n_expert, 0.0)


def granite_swa_layers(m: Maker) -> None:
    """The shared expert's gate and up projection are one matrix."""
    v = m.variant
    ends(m)
    for il in range(v.n_layer):
        attention(m, il)
        m.variant = replace(v, n_ff_shared=0)
        feed_forward(m, il)
        m.variant = v
        m.matrix(f"blk.{il}.ffn_up_shexp", 2 * v.n_ff_shared, v.n_embd)
        m.matrix(f"blk.{il}.ffn_down_shexp", v.n_embd, v.n_ff_shared)


def kimi_linear_layers(m: Maker) -> None:
    """Layers without KV heads have linear attention, the others latent attention."""
    v, d, n_tap = m.variant, KDA_HEAD, 4
    assert isinstance(v.n_head, int)
    n = v.n_head * d
    ends(m)
    for il in range(v.n_layer):
        name, n_nope = f"blk.{il}", v.head_dim - v.n_rot
        m.norm(f"{name}.attn_norm", v.n_embd)
        if per_layer(v.n_head_kv, il):
            m.matrix(f"{name}.attn_q", v.n_head * v.head_dim, v.n_embd, gain=1.5)
            m.matrix(f"{name}.attn_kv_a_mqa", KV_RANK + v.n_rot, v.n_embd)
            m.norm(f"{name}.attn_kv_a_norm", KV_RANK)
            m.stack(f"{name}.attn_k_b", v.n_head, KV_RANK, n_nope)
            m.stack(f"{name}.attn_v_b", v.n_head, VALUE, KV_RANK)
            m.matrix(f"{name}.attn_output", v.n_embd, v.n_head * VALUE)
        else:
            for part in "qkv":
                m.matrix(f"{name}.attn_{part}", n, v.n_embd)
                taps = 0.3 + 0.2 * m.rng.standard_normal((n, 1, n_tap))
                m.constant(f"{name}.ssm_conv1d_{part}.weight", taps)
            for gate in ("f", "g"):
                m.matrix(f"{name}.ssm_{gate}_a", d, v.n_embd)
                m.matrix(f"{name}.ssm_{gate}_b", n, d)
            m.matrix(f"{name}.ssm_beta", v.n_head, v.n_embd)
            m.table(f"{name}.ssm_a", v.n_head, 1, -0.5)
            m.vector(f"{name}.ssm_dt.bias", n, -1.0, 0.5)
            m.norm(f"{name}.ssm_norm", d)
            m.matrix(f"{name}.attn_output", v.n_embd, n)
        feed_forward(m, il)


def gemma3n_layers(m: Maker) -> None:
    """Gemma 3n's tensors: its layers behind the twentieth have keys, too, which nobody reads."""
    v, n_own, n_stream, rank = m.variant, 256, 4, 64
    ends(m)
    m.stack("altup_proj", n_stream - 1, v.n_embd, v.n_embd)
    m.stack("altup_unembd_proj", n_stream - 1, v.n_embd, v.n_embd)
    m.matrix("per_layer_token_embd", m.n_vocab, v.n_layer * n_own, gain=n_own**0.5)
    m.matrix("per_layer_model_proj", v.n_layer * n_own, v.n_embd)
    m.norm("per_layer_proj_norm", n_own)
    for il in range(v.n_layer):
        name = f"blk.{il}"
        attention(m, il)
        feed_forward(m, il)
        # What layers add is small, and scores are: so many layers would be chaotic.
        m.vector(f"{name}.attn_q_norm.weight", v.head_dim, 0.5)
        m.vector(f"{name}.attn_k_norm.weight", v.head_dim, 0.5)
        for norm in ("post_attention_norm", "post_ffw_norm", "laurel_post_norm", "post_norm"):
            m.vector(f"{name}.{norm}.weight", v.n_embd, 0.2, 0.1)
        m.matrix(f"{name}.inp_gate", n_own, v.n_embd)
        m.matrix(f"{name}.proj", v.n_embd, n_own)
        m.matrix(f"{name}.altup_correct_coef", n_stream, n_stream, gain=0.3)
        m.matrix(f"{name}.altup_predict_coef", n_stream**2, n_stream, gain=0.3)
        m.vector(f"{name}.altup_correct_scale.weight", v.n_embd)
        m.matrix(f"{name}.altup_router", n_stream, v.n_embd, gain=20.0)
        m.norm(f"{name}.altup_router_norm", v.n_embd)
        m.matrix(f"{name}.laurel_l", rank, v.n_embd)
        m.matrix(f"{name}.laurel_r", v.n_embd, rank)
