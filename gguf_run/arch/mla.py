"""Multi-head latent attention (arXiv:2405.04434, section 2.1): keys and values of all heads are
products of one small vector a token, beside one rotated key that the heads share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import log

from gguf_run.arch.attention import heads, rope_factors, rope_params, warmed
from gguf_run.arch.blocks import linear, rms_norm
from gguf_run.arch.builder import Builder
from gguf_run.graph import AttentionParams, RopeMode, RopeParams, Tensor


@dataclass(frozen=True, slots=True)
class Latent:
    """Widths: of the latent vector, of a head's queries without and with positions, of its values.

    `absorbed`: the file has the latent vector's two products apart, so that the cache can hold the
    vector itself; else keys and values are cached as heads. `rope` None: nothing is rotated.
    """

    n_latent: int
    n_nope: int
    n_rot: int
    n_value: int
    absorbed: bool
    rope: RopeParams | None
    factors: Tensor | None
    scores: AttentionParams


def latent(b: Builder, whole_scores: bool) -> Latent:
    """The widths and the RoPE that the file says.

    YaRN's magnitude is a factor of all scores; `whole_scores`: as the file's multiplier has it, and
    none is left for the rotated part, else the multiplier lessens that of the rotated part.
    """
    hp, keys = b.hp, b.hp.keys
    absorbed = keys.get("attention.key_length_mla") is not None
    d_k = keys.integer("attention.key_length_mla", hp.head_dim_k, low=hp.n_rot + 1)
    rope, size = _yarn(b, whole_scores)
    return Latent(
        n_latent=keys.integer("attention.kv_lora_rank"),
        n_nope=d_k - hp.n_rot,
        n_rot=hp.n_rot,
        n_value=keys.integer("attention.value_length_mla", hp.head_dim_v),
        absorbed=absorbed,
        rope=rope,
        factors=None,
        scores=AttentionParams(scale=size**2 * d_k**-0.5),
    )


def plain_latent(b: Builder, mode: RopeMode = RopeMode.NEOX) -> Latent:
    """Heads of keys and values, RoPE with LongRoPE's factors if there are any, plain scores."""
    hp = b.hp
    return Latent(
        n_latent=hp.keys.integer("attention.kv_lora_rank"),
        n_nope=hp.head_dim_k - hp.n_rot,
        n_rot=hp.n_rot,
        n_value=hp.head_dim_v,
        absorbed=False,
        rope=rope_params(b, mode),
        factors=rope_factors(b),
        scores=AttentionParams(scale=hp.head_dim_k**-0.5),
    )


def _yarn(b: Builder, whole_scores: bool) -> tuple[RopeParams, float]:
    """RoPE, and what YaRN (arXiv:2309.00071, section 3.4) multiplies queries and keys with."""
    rope = rope_params(b, RopeMode.NORM)
    log_scale = log(1 / rope.freq_scale)
    grows = 1 + 0.1 * log_scale
    multiplier = b.hp.keys.number("rope.scaling.yarn_log_multiplier", 0.0)
    named = 1 + multiplier * log_scale
    if not multiplier or not rope.ext_factor:
        return rope, rope.attn_factor * named * grows
    taken, left = (grows, named) if whole_scores else (named, grows)
    return replace(rope, attn_factor=rope.attn_factor / taken), rope.attn_factor * left


def latent_attention(b: Builder, x: Tensor, il: int, m: Latent) -> Tensor:
    """x (n_tok, n_embd) -> (n_tok, n_embd)."""
    g, name, n_head = b.g, f"blk.{il}.attn", b.hp.n_head[il]
    q = heads(b, _queries(b, x, il, n_head * (m.n_nope + m.n_rot)), m.n_nope + m.n_rot)
    both = linear(b, x, f"{name}_kv_a_mqa", m.n_latent + m.n_rot)
    c = rms_norm(b, g.view(both, 0, m.n_latent), f"{name}_kv_a_norm")
    k_rot = heads(b, g.view(both, m.n_latent, m.n_latent + m.n_rot), m.n_rot)
    q_nope, q_rot = g.view(q, 0, m.n_nope), g.view(q, m.n_nope, m.n_nope + m.n_rot)
    if m.rope is not None:
        k_rot = g.rope(k_rot, b.positions, m.rope, m.factors)
        q_rot = g.rope(q_rot, b.positions, m.rope, m.factors)
    found = (_absorbed if m.absorbed else _expanded)(b, il, m, q_nope, q_rot, c, k_rot)
    merged = g.reshape(found, x.shape[0], n_head * m.n_value)
    return linear(b, merged, f"{name}_output", b.hp.n_embd)


def _queries(b: Builder, x: Tensor, il: int, n_out: int) -> Tensor:
    """Through a bottleneck with a norm where the file has one."""
    name = f"blk.{il}.attn"
    if b.has(f"{name}_q.weight"):
        return linear(b, x, f"{name}_q", n_out)
    low = linear(b, x, f"{name}_q_a", b.hp.keys.integer("attention.q_lora_rank"))
    return linear(b, rms_norm(b, low, f"{name}_q_a_norm"), f"{name}_q_b", n_out)


def _absorbed(
    b: Builder, il: int, m: Latent, q_nope: Tensor, q_rot: Tensor, c: Tensor, k_rot: Tensor
) -> Tensor:
    """Attention of all heads to one: q' = k_b q and the latent vector as key and value.

    A row of the cache is the latent vector, then the rotated key; the values are its first columns.
    """
    g, n_head = b.g, b.hp.n_head[il]
    k_b = b.weight(f"blk.{il}.attn_k_b.weight", n_head, m.n_latent, m.n_nope)
    v_b = b.weight(f"blk.{il}.attn_v_b.weight", n_head, m.n_value, m.n_latent)
    q = warmed(b, g.concat(g.mul_mat_batched(k_b, q_nope), q_rot))
    row = g.concat(heads(b, c, m.n_latent), k_rot)
    keys = g.set_rows(b.cache_latent(il, m.n_latent + m.n_rot), row, b.slots())
    values = g.view(keys, 0, m.n_latent)
    found = g.flash_attn_ext(q, keys, values, b.positions, b.seq_ids, b.block_table(), m.scores)
    return g.mul_mat_batched(v_b, found)


def _expanded(
    b: Builder, il: int, m: Latent, q_nope: Tensor, q_rot: Tensor, c: Tensor, k_rot: Tensor
) -> Tensor:
    """Attention of each head to its own keys and values, products of the latent vector."""
    g, n_head, width = b.g, b.hp.n_head[il], m.n_nope + m.n_value
    kv = heads(b, linear(b, c, f"blk.{il}.attn_kv_b", n_head * width), width)
    k = g.concat(g.view(kv, 0, m.n_nope), k_rot)
    keys = g.set_rows(b.cache_k(il, n_head, m.n_nope + m.n_rot), k, b.slots())
    v = g.view(kv, m.n_nope, width)
    values = g.set_rows(b.cache_v(il, n_head, m.n_value), v, b.slots())
    q = warmed(b, g.concat(q_nope, q_rot))
    return g.flash_attn_ext(q, keys, values, b.positions, b.seq_ids, b.block_table(), m.scores)
