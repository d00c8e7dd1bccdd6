"""Families with layers of Mamba."""

from __future__ import annotations

from typing import Any

from family_layers import FINE
from model_maker import Maker, Variant, attention, ends, feed_forward

INNER, TAPS = 128, 4
STATE, STEP = 16, 6
"""Of Mamba: elements of a state, width of the time step."""
STATE_2, N_HEAD, N_GROUP = 24, 8, 2
"""Of Mamba 2: elements of a state, heads, groups."""

KEYS: dict[str, object] = {
    "ssm.conv_kernel": TAPS,
    "ssm.inner_size": INNER,
    "ssm.state_size": STATE,
    "ssm.time_step_rank": STEP,
}
KEYS_2: dict[str, object] = {
    **KEYS,
    "ssm.state_size": STATE_2,
    "ssm.time_step_rank": N_HEAD,
    "ssm.group_count": N_GROUP,
}


def _convolution(m: Maker, prefix: str, n: int) -> None:
    m.table(f"{prefix}_conv1d.weight", n, TAPS, 0.3)
    m.vector(f"{prefix}_conv1d.bias", n, 0.0)


def mamba_layer(m: Maker, il: int) -> None:
    """The tensors of Mamba."""
    prefix, n_embd = f"blk.{il}.ssm", m.variant.n_embd
    m.matrix(f"{prefix}_in", 2 * INNER, n_embd, gain=1.5)
    _convolution(m, prefix, INNER)
    m.matrix(f"{prefix}_x", STEP + 2 * STATE, INNER)
    if m.has("step_norms"):
        for name, n in (("dt", STEP), ("b", STATE), ("c", STATE)):
            m.norm(f"{prefix}_{name}_norm", n)
    m.matrix(f"{prefix}_dt", INNER, STEP)
    m.vector(f"{prefix}_dt.bias", INNER, -1.0, 0.5)
    m.table(f"{prefix}_a", INNER, STATE, -1.0)
    m.vector(f"{prefix}_d", INNER)
    m.matrix(f"{prefix}_out", n_embd, INNER)


def mamba2_layer(m: Maker, il: int) -> None:
    """The tensors of Mamba 2."""
    prefix, n_embd, n_mixed = f"blk.{il}.ssm", m.variant.n_embd, INNER + 2 * N_GROUP * STATE_2
    m.matrix(f"{prefix}_in", INNER + n_mixed + N_HEAD, n_embd, gain=1.5)
    _convolution(m, prefix, n_mixed)
    m.vector(f"{prefix}_dt.bias", N_HEAD, -1.0, 0.5)
    m.table(f"{prefix}_a", N_HEAD, 1, -1.0)
    m.table(f"{prefix}_d", N_HEAD, 1, 1.0)
    if not m.has("no_ssm_norm"):
        m.table(f"{prefix}_norm.weight", N_GROUP, INNER // N_GROUP, 1.0)
    m.matrix(f"{prefix}_out", n_embd, INNER)


def only_mamba(m: Maker) -> None:
    """Mamba's and Mamba 2's models."""
    ends(m)
    for il in range(m.variant.n_layer):
        m.norm(f"blk.{il}.attn_norm", m.variant.n_embd)
        (mamba2_layer if m.variant.arch == "mamba2" else mamba_layer)(m, il)


def mixed(m: Maker) -> None:
    """Layers without KV heads are recurrent; `both` have attention beside that."""
    ends(m)
    layer = mamba_layer if m.variant.arch == "jamba" else mamba2_layer
    for il in range(m.variant.n_layer):
        n_kv = m.variant.n_head_kv
        if m.has("both") or (isinstance(n_kv, tuple) and n_kv[il]):
            attention(m, il)
        else:
            m.norm(f"blk.{il}.attn_norm", m.variant.n_embd)
        if m.has("both") or (isinstance(n_kv, tuple) and not n_kv[il]):
            layer(m, il)
        if m.has("bare_ffn_norm"):
            m.vector(f"blk.{il}.ffn_norm", m.variant.n_embd)
        feed_forward(m, il, experts=il % 2 == 1 or not m.has("every_second"))


def nemotron_h_layers(m: Maker) -> None:
    """A layer is attention, Mamba 2 or a feed-forward."""
    v = m.variant
    assert isinstance(v.n_head_kv, tuple)
    assert isinstance(v.n_ff, tuple)
    ends(m)
    for il in range(v.n_layer):
        if v.n_head_kv[il]:
            attention(m, il)
            continue
        m.norm(f"blk.{il}.attn_norm", v.n_embd)
        if not v.n_ff[il]:
            mamba2_layer(m, il)
        elif v.n_expert:
            _squared_experts(m, il)
        else:
            feed_forward(m, il)


def _squared_experts(m: Maker, il: int) -> None:
    v, prefix = m.variant, f"blk.{il}.ffn"
    width = LATENT if m.has("latent_experts") else v.n_embd
    m.matrix(f"{prefix}_gate_inp", v.n_expert, v.n_embd, gain=2.0)
    m.vector(f"blk.{il}.exp_probs_b.bias", v.n_expert, 0.0)
    if m.has("latent_experts"):
        m.matrix(f"{prefix}_latent_down", LATENT, v.n_embd)
        m.matrix(f"{prefix}_latent_up", v.n_embd, LATENT)
    m.stack(f"{prefix}_up_exps", v.n_expert, v.n_ff_exp, width)
    m.stack(f"{prefix}_down_exps", v.n_expert, width, v.n_ff_exp)
    m.matrix(f"{prefix}_up_shexp", v.n_ff_shared, v.n_embd)
    m.matrix(f"{prefix}_down_shexp", v.n_embd, v.n_ff_shared)


LATENT = 40

_NO_HEADS: dict[str, Any] = {"n_head": 0, "n_head_kv": 0, "n_ff": 0, "n_rot": 0, "head_dim": 0}
_HYBRID: dict[str, Any] = {"n_layer": 4, "n_head_kv": (0, 2, 0, 2)}
_NEMOTRON: dict[str, Any] = {
    "n_layer": 6,
    "n_head_kv": (0, 0, 2, 0, 0, 0),
    "n_ff": (0, 96, 0, 0, 96, 96),
    "ffn_norm": "",
}


def _model(arch: str, build: Any, *parts: str, **fields: Any) -> Variant:
    return Variant(arch, build, parts=frozenset(parts), **fields)


MAMBA_FAMILIES: dict[str, Variant] = {
    "mamba": _model("mamba", only_mamba, "tied", keys=KEYS, **_NO_HEADS),
    "mamba-falcon": _model(
        "mamba", only_mamba, keys={**KEYS, "ssm.dt_b_c_rms": True}, seed=1, **_NO_HEADS
    ),
    "mamba2": _model("mamba2", only_mamba, keys=KEYS_2, **_NO_HEADS),
    "jamba": _model(
        "jamba", mixed, "step_norms", "every_second", n_expert=8, n_ff_exp=96, keys=KEYS, **_HYBRID
    ),
    "jamba-dense": _model("jamba", mixed, "step_norms", "tied", keys=KEYS, **_HYBRID),
    "falcon-h1": _model("falcon-h1", mixed, "both", "bare_ffn_norm", ffn_norm="", keys=KEYS_2),
    "falcon-h1-no-norm": _model(
        "falcon-h1",
        mixed,
        *("both", "bare_ffn_norm", "no_ssm_norm", "tied"),
        ffn_norm="",
        head_dim=32,
        n_rot=32,
        keys=KEYS_2,
    ),
    "granitehybrid": _model(
        "granitehybrid",
        mixed,
        *("tied",),
        n_expert=8,
        n_ff=32,
        n_ff_shared=48,
        keys={
            **KEYS_2,
            "embedding_scale": 12.0,
            "residual_scale": 0.22,
            "attention.scale": 0.1,
            "logit_scale": 6.0,
            "rope.scaling.finetuned": False,
            "expert_shared_feed_forward_length": 48,
        },
        **_HYBRID,
    ),
    "granitehybrid-dense": _model("granitehybrid", mixed, keys=KEYS_2, **_HYBRID),
    "nemotron_h": _model(
        "nemotron_h",
        nemotron_h_layers,
        "plain_ffn",
        seed=1,
        head_dim=24,
        n_rot=24,
        keys={**KEYS_2, "attention.layer_norm_epsilon": 1e-5},
        **_NEMOTRON,
    ),
    **{
        name: _model(
            "nemotron_h_moe",
            nemotron_h_layers,
            *parts,
            n_expert=8,
            n_ff_shared=48,
            keys={
                **KEYS_2,
                **FINE,
                **latent,
                "attention.layer_norm_epsilon": 1e-5,
                "expert_shared_feed_forward_length": 48,
                "expert_shared_count": 1,
                "expert_weights_norm": True,
                "expert_weights_scale": 2.5,
            },
            **_NEMOTRON,
        )
        for name, parts, latent in (
            ("nemotron_h_moe", (), {}),
            ("nemotron_h_moe-latent", ("latent_experts",), {"moe_latent_size": LATENT}),
        )
    },
}
