"""Families that are met more rarely, or whose layers are put together in a way of their own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from family_layers import FINE, KV_RANK, VALUE, latent_decoder
from model_maker import (
    Maker,
    Variant,
    attention,
    decoder,
    ends,
    feed_forward,
    per_layer,
    routed_experts,
    scaling,
)

EPS: dict[str, object] = {"attention.layer_norm_epsilon": 1e-5}
ALIBI = ("norm_bias", "fused_qkv", "qkv_bias", "attn_output_bias", "ffn_bias", "plain_ffn")
SMALL: dict[str, Any] = {"n_embd": 32, "n_ff": 32, "head_dim": 8, "n_rot": 8}


def _row(arch: str, *parts: str, build: Any = decoder, **fields: Any) -> Variant:
    return Variant(arch, build, parts=frozenset(parts), **fields)


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


KDA_HEAD = 16


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


MORE_FAMILIES: dict[str, Variant] = {
    # ALiBi
    "bloom": _row("bloom", *ALIBI, "embd_norm", "tied", n_head_kv=4, keys=EPS),
    "bloom-odd-heads": _row(
        "bloom",
        *ALIBI,
        "embd_norm",
        n_embd=48,
        n_head=6,
        n_head_kv=6,
        head_dim=8,
        n_rot=8,
        keys=EPS,
    ),
    "mpt": _row(
        "mpt",
        *("fused_qkv", "plain_ffn", "tied"),
        n_head_kv=4,
        keys={**EPS, "attention.max_alibi_bias": 8.0, "attention.clamp_kqv": 1.0},
    ),
    "mpt-positions": _row("mpt", *ALIBI, "positions", n_head_kv=4, keys=EPS, seed=1),
    "refact": _row("refact", n_head_kv=1),
    "jais": _row(
        "jais",
        *ALIBI[:-1],
        n_head_kv=4,
        keys={**EPS, "attention.max_alibi_bias": 8.0},
    ),
    "baichuan-13b": _row("baichuan", **SMALL, n_head_kv=4, n_layer=40),
    # Experts
    "llama4": _row(
        "llama4",
        build=llama4_layers,
        n_layer=5,
        n_expert=8,
        n_expert_used=1,
        n_ff_shared=32,
        keys={**FINE, "interleave_moe_layer_step": 2},
    ),
    "llama4-two-experts": _row(
        "llama4",
        *("tied", "rope_freqs"),
        build=llama4_layers,
        n_layer=4,
        n_expert=128,
        n_expert_used=2,
        n_ff_shared=32,
        keys={**FINE, "interleave_moe_layer_step": 2},
    ),
    "grok": _row("grok", build=grok_layers, n_expert=8, n_expert_used=2, n_ff=32),
    "grok-2": _row(
        "grok",
        "both",
        build=grok_layers,
        n_expert=8,
        n_expert_used=2,
        keys={
            **FINE,
            "embedding_scale": 12.0,
            "logit_scale": 0.5,
            "attention.output_scale": 0.3,
            "attn_logit_softcapping": 20.0,
            "router_logit_softcapping": 30.0,
            "final_logit_softcapping": 50.0,
        },
    ),
    "arctic": _row("arctic", build=arctic_layers, n_expert=8, n_expert_used=2, n_ff=32),
    "smallthinker": _row(
        "smallthinker",
        seed=2,
        n_layer=5,
        n_expert=8,
        keys={**FINE, "attention.sliding_window": 4096, "expert_gating_func": 2},
    ),
    "smallthinker-no-window": _row(
        "smallthinker",
        "tied",
        n_layer=5,
        n_expert=8,
        keys={**FINE, "expert_gating_func": 1},
    ),
    "afmoe": _row(
        "afmoe",
        *("post_norms", "qk_norm", "attn_gate", "choice_bias"),
        n_layer=5,
        n_dense=1,
        n_expert=8,
        n_ff_shared=32,
        keys={
            **FINE,
            "attention.sliding_window": 16,
            "leading_dense_block_count": 1,
            "expert_shared_count": 1,
            "expert_weights_norm": True,
            "expert_weights_scale": 2.8,
        },
    ),
    # Layers that differ
    "openelm": _row(
        "openelm",
        *("fused_qkv", "qk_norm", "tied"),
        n_head=(4, 6),
        n_head_kv=(2, 3),
        n_ff=(64, 96),
    ),
    "deci": _row(
        "deci",
        build=deci_layers,
        n_layer=5,
        n_head=(4, 4, 0, 0, 4),
        n_head_kv=(2, 0, 0, 0, 1),
        n_ff=(96, 64, 96, 0, 32),
    ),
    "mimo2": _row(
        "mimo2",
        *("choice_bias", "sinks"),
        n_layer=5,
        n_dense=1,
        n_expert=8,
        n_head_kv=(1, 2, 2, 1, 2),
        head_dim=24,
        n_rot=8,
        keys={
            **FINE,
            "attention.sliding_window": 16,
            "attention.sliding_window_pattern": [False, True, True, False, True],
            "attention.value_scale": 0.7,
        },
    ),
    "step35": _row(
        "step35",
        *("choice_bias", "qk_norm", "head_gate", "rope_freqs"),
        n_layer=5,
        n_dense=1,
        n_expert=8,
        n_ff_shared=48,
        n_head=(4, 6, 6, 4, 6),
        keys={
            **FINE,
            "attention.sliding_window": 16,
            "attention.sliding_window_pattern": [False, True, True, False, True],
            "rope.freq_base_swa": 5000.0,
            "expert_weights_norm": True,
            "expert_weights_scale": 1.5,
            "expert_gating_func": 2,
            "expert_shared_feed_forward_length": 48,
            "swiglu_clamp_exp": [0.0, 0.7, 0.0, 0.5, 1.0],
            "swiglu_clamp_shexp": [0.0, 0.0, 0.8, 1.0, 0.5],
        },
    ),
    "mellum": _row(
        "mellum",
        "qk_norm",
        n_layer=5,
        n_expert=8,
        keys={**FINE, **scaling("yarn"), "attention.sliding_window": 16},
    ),
    "hy_v3": _row(
        "hy_v3",
        "qk_norm",
        build=hy_v3_layers,
        n_dense=1,
        n_expert=8,
        n_ff_shared=48,
        keys={
            **FINE,
            "expert_shared_feed_forward_length": 48,
            "expert_weights_norm": True,
            "expert_weights_scale": 1.5,
        },
    ),
    **{
        name: _row(
            "laguna",
            *("choice_bias", "qk_norm", gate),
            n_layer=5,
            n_dense=1,
            n_expert=8,
            n_ff_shared=32,
            n_head=(4, 6, 6, 4, 6),
            keys={
                **FINE,
                **scaling("yarn"),
                "attention.sliding_window": 16,
                "attention.sliding_window_pattern": [il % 4 != 0 for il in range(5)],
                "rope.freq_base_swa": 5000.0,
                "rope.dimension_count_swa": 8,
                "leading_dense_block_count": 1,
                "expert_weights_norm": True,
                "expert_weights_scale": 1.5,
                "expert_gating_func": 2,
            },
        )
        for name, gate in (("laguna", "head_gate"), ("laguna-wide-gates", "attn_gate"))
    },
    "cohere2moe": _row(
        "cohere2moe",
        "tied",
        n_layer=6,
        n_dense=1,
        n_expert=8,
        n_ff_shared=48,
        ffn_norm="",
        keys={
            **FINE,
            **EPS,
            "attention.layer_norm_rms_epsilon": 0.0,
            "attention.sliding_window": 16,
            "logit_scale": 0.25,
            "leading_dense_block_count": 1,
            "expert_shared_count": 1,
            "expert_shared_feed_forward_length": 48,
            "expert_weights_norm": True,
        },
    ),
    "granite_swa": _row(
        "granite_swa",
        *("sinks", "tied"),
        build=granite_swa_layers,
        n_layer=4,
        n_expert=8,
        n_ff=32,
        n_ff_shared=48,
        keys={
            "attention.sliding_window": 16,
            "attention.sliding_window_pattern": [True, True, False, True],
            "attention.rope_pattern": [True, True, False, True],
            "attention.scale": 0.2,
            "embedding_scale": 6.0,
            "residual_scale": 0.22,
            "logit_scale": 2.0,
            "expert_shared_feed_forward_length": 48,
        },
    ),
    "kimi-linear": _row(
        "kimi-linear",
        "choice_bias",
        build=kimi_linear_layers,
        n_layer=5,
        n_dense=1,
        n_expert=8,
        n_ff_shared=32,
        n_rot=8,
        n_head_kv=(0, 0, 0, 1, 0),
        keys={
            **FINE,
            "attention.kv_lora_rank": KV_RANK,
            "attention.key_length": KV_RANK + 8,
            "attention.value_length": KV_RANK,
            "attention.key_length_mla": 16,
            "attention.value_length_mla": VALUE,
            "ssm.conv_kernel": 4,
            "kda.head_dim": KDA_HEAD,
            "leading_dense_block_count": 1,
            "expert_shared_count": 1,
            "expert_weights_scale": 2.4,
            "expert_gating_func": 2,
        },
    ),
    # Others
    "plamo3": _row(
        "plamo3",
        *("fused_qkv", "qk_norm", "fused_ffn"),
        build=plamo3_layers,
        n_layer=9,
        keys={"attention.sliding_window": 16},
    ),
    "jais2": _row(
        "jais2",
        *("norm_bias", "qkv_bias", "attn_output_bias", "ffn_bias", "plain_ffn"),
        n_head_kv=4,
        keys=EPS,
    ),
    "paddleocr": _row("paddleocr", keys={"rope.dimension_sections": [3, 3, 2, 0]}),
    "apertus": _row(
        "apertus",
        *("qk_norm", "plain_ffn", "rope_freqs"),
        keys={
            "/xielu.alpha_n": [0.3, 0.8],
            "/xielu.alpha_p": [0.6, 0.2],
            "/xielu.beta": [0.5, 0.5],
            "/xielu.eps": [-1e-6, -1e-6],
        },
    ),
    "gemma3n": _row(
        "gemma3n",
        "tied",
        **SMALL,
        build=gemma3n_layers,
        n_layer=22,
        rope_base=1e6,
        keys={
            "attention.sliding_window": 16,
            "attention.sliding_window_pattern": [il % 5 != 4 for il in range(22)],
            "embedding_length_per_layer_input": 256,
            "attention.shared_kv_layers": 2,
        },
    ),
    "plm": _row(
        "plm",
        *("legacy", "direct_q", "plain_ffn", "tied"),
        build=latent_decoder,
        n_rot=8,
        n_head_kv=4,
        keys={
            "attention.kv_lora_rank": KV_RANK,
            "attention.key_length": 16,
            "attention.value_length": VALUE,
        },
    ),
    "maincoder": _row("maincoder", "qk_norm", "tied"),
    "pangu-embedded": _row("pangu-embedded", "qkv_bias", "attn_output_bias"),
}
