"""Families whose layers are not a plain decoder's: latent attention, linear attention, Gemma 4."""

from __future__ import annotations

from typing import Any

import numpy as np
from model_maker import Maker, Variant, attention, ends, feed_forward, routed_experts

FINE: dict[str, object] = {"expert_feed_forward_length": 32}
PRE_FFN = "post_attention_norm"
SHARED: dict[str, object] = {"expert_shared_count": 2}


def latent_decoder(m: Maker) -> None:
    """DeepSeek V2's tensors: `legacy` files hold the latent vector's products in one matrix."""
    ends(m)
    v = m.variant
    for il in range(v.n_layer):
        prefix, n_nope, n_rot = f"blk.{il}.attn", v.head_dim - v.n_rot, v.n_rot
        m.norm(f"{prefix}_norm", v.n_embd)
        if m.has("direct_q"):
            m.matrix(f"{prefix}_q", v.n_head * v.head_dim, v.n_embd, gain=1.5)
        else:
            m.matrix(f"{prefix}_q_a", Q_RANK, v.n_embd)
            m.norm(f"{prefix}_q_a_norm", Q_RANK)
            m.matrix(f"{prefix}_q_b", v.n_head * v.head_dim, Q_RANK, gain=1.5)
        m.matrix(f"{prefix}_kv_a_mqa", KV_RANK + n_rot, v.n_embd)
        m.norm(f"{prefix}_kv_a_norm", KV_RANK)
        if m.has("legacy"):
            m.matrix(f"{prefix}_kv_b", v.n_head * (n_nope + VALUE), KV_RANK)
        else:
            m.stack(f"{prefix}_k_b", v.n_head, KV_RANK, n_nope)
            m.stack(f"{prefix}_v_b", v.n_head, VALUE, KV_RANK)
        m.matrix(f"{prefix}_output", v.n_embd, v.n_head * VALUE)
        feed_forward(m, il)


Q_RANK, KV_RANK, VALUE = 24, 32, 12


def lfm2(*parts: str, **more: Any) -> Variant:
    """LFM2 in little: two of five layers have attention."""
    fields: dict[str, Any] = {"n_layer": 5, "n_head_kv": (0, 2, 0, 0, 2)}
    keys = {"shortconv.l_cache": 3, **more.pop("keys", {})}
    arch = "lfm2moe" if more.get("n_expert") else "lfm2"
    every = frozenset((*parts, "qk_norm", "tied"))
    return Variant(arch, lfm2_layers, parts=every, keys=keys, **{**fields, **more})


def minicpm3() -> Variant:
    """MiniCPM 3 in little."""
    keys: dict[str, object] = {
        "attention.q_lora_rank": Q_RANK,
        "attention.kv_lora_rank": KV_RANK,
        "attention.key_length": 16,
        "attention.value_length": VALUE,
        "rope.scaling.original_context_length": 128,
    }
    parts = frozenset({"legacy", "rope_factors"})
    return Variant("minicpm3", latent_decoder, n_rot=8, n_head_kv=4, parts=parts, keys=keys)


def deepseek2(*parts: str, **more: Any) -> Variant:
    """DeepSeek V2 and V3 in little: four heads of 16 elements, 8 of them rotated."""
    arch = str(more.pop("arch", "deepseek2"))
    keys = {
        **FINE,
        **SHARED,
        "leading_dense_block_count": 1,
        "attention.kv_lora_rank": KV_RANK,
        "expert_weights_scale": 1.5,
    }
    if "direct_q" not in parts:
        keys["attention.q_lora_rank"] = Q_RANK
    if "legacy" in parts:
        keys |= {"attention.key_length": 16, "attention.value_length": VALUE}
    else:
        keys |= {
            "attention.key_length": KV_RANK + 8,
            "attention.value_length": KV_RANK,
            "attention.key_length_mla": 16,
            "attention.value_length_mla": VALUE,
        }
    fields: dict[str, Any] = {"n_rot": 8, "n_expert": 8, "n_dense": 1, "n_ff_shared": 64}
    fields |= {"n_head_kv": 4 if "legacy" in parts else 1}
    keys |= more.pop("keys", {})
    return Variant(arch, latent_decoder, parts=frozenset(parts), keys=keys, **{**fields, **more})


def lfm2_layers(m: Maker) -> None:
    """LFM2's tensors: layers without KV heads have a short convolution."""
    v = m.variant
    m.matrix("token_embd", m.n_vocab, v.n_embd, gain=2.0)
    m.norm("token_embd_norm", v.n_embd)
    assert isinstance(v.n_head_kv, tuple)
    for il, n_kv in enumerate(v.n_head_kv):
        if n_kv:
            attention(m, il)
        else:
            m.norm(f"blk.{il}.attn_norm", v.n_embd)
            m.matrix(f"blk.{il}.shortconv.in_proj", 3 * v.n_embd, v.n_embd, gain=1.5)
            m.table(f"blk.{il}.shortconv.conv.weight", v.n_embd, 3, 0.5)
            m.matrix(f"blk.{il}.shortconv.out_proj", v.n_embd, v.n_embd)
        feed_forward(m, il)


def delta_decoder(m: Maker) -> None:
    """Qwen3-Next's and Qwen 3.5's tensors: the last of `PERIOD` layers has softmax attention."""
    ends(m)
    for il in range(m.variant.n_layer):
        m.norm(f"blk.{il}.attn_norm", m.variant.n_embd)
        if (il + 1) % PERIOD:
            _linear_attention(m, il)
        else:
            _gated_attention(m, il)
        feed_forward(m, il)


def _linear_attention(m: Maker, il: int) -> None:
    n_embd, prefix = m.variant.n_embd, f"blk.{il}"
    keys, values = N_KEY * WIDTH, N_VALUE * WIDTH
    if m.has("one_product"):
        m.matrix(f"{prefix}.ssm_in", 2 * keys + 2 * values, n_embd)
    else:
        m.matrix(f"{prefix}.attn_qkv", 2 * keys + values, n_embd)
        m.matrix(f"{prefix}.attn_gate", values, n_embd)
    m.table(f"{prefix}.ssm_conv1d.weight", 2 * keys + values, TAPS, 0.3)
    m.vector(f"{prefix}.ssm_dt.bias", N_VALUE, 0.0)
    m.vector(f"{prefix}.ssm_a", N_VALUE, -0.5, 0.1)
    rows = {"ba": 2 * N_VALUE} if m.has("joint_gates") else {"beta": N_VALUE, "alpha": N_VALUE}
    for name, n in rows.items():
        m.matrix(f"{prefix}.ssm_{name}", n, n_embd)
    m.vector(f"{prefix}.ssm_norm.weight", WIDTH)
    m.matrix(f"{prefix}.ssm_out", n_embd, values)


def _gated_attention(m: Maker, il: int) -> None:
    v, prefix = m.variant, f"blk.{il}.attn"
    m.matrix(f"{prefix}_q", 2 * v.n_head * v.head_dim, v.n_embd, gain=1.5)
    m.matrix(f"{prefix}_k", 2 * v.head_dim, v.n_embd, gain=1.5)
    m.matrix(f"{prefix}_v", 2 * v.head_dim, v.n_embd)
    m.vector(f"{prefix}_q_norm.weight", v.head_dim)
    m.vector(f"{prefix}_k_norm.weight", v.head_dim, 2.0)
    m.matrix(f"{prefix}_output", v.n_embd, v.n_head * v.head_dim)


PERIOD, TAPS, WIDTH, N_KEY, N_VALUE = 4, 4, 16, 2, 6


def hybrid(arch: str, *parts: str, **more: Any) -> Variant:
    """Qwen3-Next and Qwen 3.5 in little: three linear layers, a softmax one, a linear one."""
    keys = {
        "ssm.conv_kernel": TAPS,
        "ssm.inner_size": N_VALUE * WIDTH,
        "ssm.state_size": WIDTH,
        "ssm.time_step_rank": N_VALUE,
        "ssm.group_count": N_KEY,
        **more.pop("keys", {}),
    }
    fields: dict[str, Any] = {"n_layer": 5, "head_dim": 32, "n_rot": 8, "ffn_norm": PRE_FFN}
    if more.get("n_expert"):
        keys |= {**FINE, "expert_shared_feed_forward_length": 48}
        fields |= {"n_ff_shared": 48}
    every = frozenset((*parts, "shared_gate"))
    return Variant(arch, delta_decoder, parts=every, keys=keys, **{**fields, **more})


def gemma4_layers(m: Maker) -> None:
    """Gemma 4's tensors: of two layers one sees a window, the last `SHARED_KV` have no keys."""
    v = m.variant
    m.matrix("token_embd", m.n_vocab, v.n_embd, gain=2.0)
    m.norm("output_norm", v.n_embd)
    m.constant("rope_freqs.weight", np.array([1.0, 1.0, 2.0, 1e30] * (v.head_dim // 8)))
    if m.has("layer_inputs"):
        m.matrix("per_layer_token_embd", m.n_vocab, v.n_layer * OWN, gain=OWN**0.5)
        m.matrix("per_layer_model_proj", v.n_layer * OWN, v.n_embd)
        m.norm("per_layer_proj_norm", OWN)
    for il in range(v.n_layer):
        _gemma4_attention(m, il)
        _gemma4_feed_forward(m, il)
        if m.has("layer_inputs"):
            m.matrix(f"blk.{il}.inp_gate", OWN, v.n_embd)
            m.matrix(f"blk.{il}.proj", v.n_embd, OWN)
            m.norm(f"blk.{il}.post_norm", v.n_embd)
        m.vector(f"blk.{il}.layer_output_scale.weight", 1)


def _gemma4_attention(m: Maker, il: int) -> None:
    v, prefix = m.variant, f"blk.{il}.attn"
    d = WINDOW_HEAD if il % 2 == 0 else v.head_dim
    n_kv = v.n_head_kv[il] if isinstance(v.n_head_kv, tuple) else v.n_head_kv
    m.norm(f"{prefix}_norm", v.n_embd)
    m.matrix(f"{prefix}_q", v.n_head * d, v.n_embd)
    m.vector(f"{prefix}_q_norm.weight", d)
    if il < v.n_layer - SHARED_KV:
        m.matrix(f"{prefix}_k", n_kv * d, v.n_embd)
        m.vector(f"{prefix}_k_norm.weight", d)
        if not (m.has("values_are_keys") and d == v.head_dim):
            m.matrix(f"{prefix}_v", n_kv * d, v.n_embd)
    m.matrix(f"{prefix}_output", v.n_embd, v.n_head * d)
    m.norm(f"blk.{il}.post_attention_norm", v.n_embd)


def _gemma4_feed_forward(m: Maker, il: int) -> None:
    v, prefix = m.variant, f"blk.{il}"
    feed_forward(m, il, experts=False)
    m.norm(f"{prefix}.post_ffw_norm", v.n_embd)
    if not v.n_expert:
        return
    routed_experts(m, il)
    m.vector(f"{prefix}.ffn_gate_inp.scale", v.n_embd, v.n_embd**0.5)
    m.vector(f"{prefix}.ffn_down_exps.scale", v.n_expert)
    for name in ("pre_ffw_norm_2", "post_ffw_norm_1", "post_ffw_norm_2"):
        m.norm(f"{prefix}.{name}", v.n_embd)


SHARED_KV, OWN, WINDOW_HEAD = 2, 8, 16


def gemma4(*parts: str, **more: Any) -> Variant:
    """Gemma 4 in little: six layers, of which the last two share the caches of the two before."""
    n_layer = 6
    keys: dict[str, object] = {
        "attention.sliding_window": 16,
        "attention.sliding_window_pattern": [il % 2 == 0 for il in range(n_layer)],
        "attention.key_length_swa": WINDOW_HEAD,
        "attention.value_length_swa": WINDOW_HEAD,
        "attention.shared_kv_layers": SHARED_KV,
        "embedding_length_per_layer_input": OWN if "layer_inputs" in parts else 0,
        "rope.freq_base_swa": 10000.0,
        "rope.dimension_count_swa": WINDOW_HEAD,
        "final_logit_softcapping": 30.0,
        **more.pop("keys", {}),
    }
    if more.get("n_expert"):
        keys |= FINE
    fields: dict[str, Any] = {"n_layer": n_layer, "head_dim": 32, "n_rot": 32, "rope_base": 1e6}
    fields |= {"n_head_kv": (2, 1, 2, 1, 2, 1), **more}
    return Variant("gemma4", gemma4_layers, parts=frozenset(parts), keys=keys, **fields)
