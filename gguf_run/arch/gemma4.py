"""Gemma 4: as Gemma 3, with other head sizes in layers that see a window, values normalised, caches
that the last layers share, a vector of each token for each layer (a per-layer embedding), and in
some models experts beside the dense feed-forward."""

from __future__ import annotations

from dataclasses import dataclass, replace

from gguf_run.arch.attention import heads, rope_params, window, window_base
from gguf_run.arch.blocks import embed, ffn, head, linear, rms_norm
from gguf_run.arch.builder import Builder
from gguf_run.arch.moe import experts, geglu, router
from gguf_run.arch.registry import architecture
from gguf_run.graph import AttentionParams, RopeMode, RopeParams, Tensor

Caches = list[tuple[Tensor, Tensor]]
"""Keys and values of the layers so far that have their own, after they were written."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What sets layers with a window (0: none) apart from those without."""

    window: int
    head_dim: int
    rope: RopeParams
    factors: Tensor | None


@architecture("gemma4")
def gemma4(b: Builder) -> Tensor:
    g, x, caches = b.g, embed(b, b.hp.n_embd**0.5), Caches()
    inputs = _layer_inputs(b, x)
    for il in range(b.hp.n_layer):
        name = f"blk.{il}"
        found = _attention(b, rms_norm(b, x, f"{name}.attn_norm"), il, caches)
        x = g.add(x, rms_norm(b, found, f"{name}.post_attention_norm"))
        x = g.add(x, rms_norm(b, _feed_forward(b, x, il), f"{name}.post_ffw_norm"))
        if inputs is not None:
            x = g.add(x, _token_of_layer(b, x, inputs, il))
        factor = b.weights.number(f"{name}.layer_output_scale.weight")
        x = x if factor is None else g.scale(x, factor)
    logits, cap = head(b, x), b.hp.keys.number("final_logit_softcapping", 0.0)
    return g.softcap(logits, cap) if cap else logits


def _kind(b: Builder, il: int) -> Kind:
    """Layers that see all stretch RoPE by the file's factors and freeze part of it so."""
    keys, size, rope = b.hp.keys, window(b, il, period=1), rope_params(b, RopeMode.NEOX)
    if not size:
        factors = b.maybe("rope_freqs.weight", b.hp.head_dim_k // 2)
        return Kind(0, b.hp.head_dim_k, rope, factors)
    head_dim = keys.integer("attention.key_length_swa")
    n_rot = keys.integer("rope.dimension_count_swa", head_dim, high=head_dim)
    local = replace(rope, n_dims=n_rot, freq_base=window_base(b, 10000.0), freq_scale=1.0)
    return Kind(size, head_dim, local, None)


def _attention(b: Builder, x: Tensor, il: int, caches: Caches) -> Tensor:
    """Scores are not scaled. Of the layers without keys of their own, those with a window read the
    caches of the last but one that has them, the others of the last."""
    g, kind, name = b.g, _kind(b, il), f"blk.{il}.attn"
    n_head, d = b.hp.n_head[il], kind.head_dim
    q = rms_norm(b, heads(b, linear(b, x, f"{name}_q", n_head * d), d), f"{name}_q_norm")
    q = g.rope(q, b.positions, kind.rope, kind.factors)
    n_shared = b.hp.keys.integer("attention.shared_kv_layers", 0, low=0, high=b.hp.n_layer - 2)
    if il < b.hp.n_layer - n_shared:
        caches.append(_keys_and_values(b, x, il, kind))
        keys, values = caches[-1]
    else:
        keys, values = caches[-2 if kind.window else -1]
    table, params = b.block_table(kind.window), AttentionParams(1.0, kind.window)
    found = g.flash_attn_ext(q, keys, values, b.positions, b.seq_ids, table, params)
    return linear(b, g.reshape(found, x.shape[0], n_head * d), f"{name}_output", b.hp.n_embd)


def _keys_and_values(b: Builder, x: Tensor, il: int, kind: Kind) -> tuple[Tensor, Tensor]:
    """The caches with the new rows; without `attn_v` the values are the keys' projection, too."""
    g, n_kv, d, name = b.g, b.hp.n_head_kv[il], kind.head_dim, f"blk.{il}.attn"
    k = heads(b, linear(b, x, f"{name}_k", n_kv * d), d)
    has_v = b.has(f"{name}_v.weight")
    v = heads(b, linear(b, x, f"{name}_v", n_kv * d), d) if has_v else k
    k = g.rope(rms_norm(b, k, f"{name}_k_norm"), b.positions, kind.rope, kind.factors)
    v = g.rms_norm(v, b.hp.norm_rms_eps)
    slots = b.slots(kind.window)
    return (
        g.set_rows(b.cache_k(il, n_kv, d, kind.window), k, slots),
        g.set_rows(b.cache_v(il, n_kv, d, kind.window), v, slots),
    )


def _feed_forward(b: Builder, x: Tensor, il: int) -> Tensor:
    """Dense, or dense plus experts, each part with its own norms; the router sees x normalised
    another time."""
    g, name = b.g, f"blk.{il}"
    dense = ffn(b, rms_norm(b, x, f"{name}.ffn_norm"), il, "geglu")
    if not b.has(f"{name}.ffn_gate_inp.weight"):
        return dense
    n_expert, n_embd = b.hp.keys.integer("expert_count"), b.hp.n_embd
    seen = g.scale(g.rms_norm(x, b.hp.norm_rms_eps), n_embd**-0.5)
    seen = g.mul(seen, b.weight(f"{name}.ffn_gate_inp.scale", n_embd))
    logits = g.mul_mat(b.weight(f"{name}.ffn_gate_inp.weight", n_expert, n_embd), seen)
    n_ff = b.hp.keys.integer("expert_feed_forward_length")
    normed = rms_norm(b, x, f"{name}.pre_ffw_norm_2")
    routed = experts(b, normed, il, router(b), n_ff, geglu, logits)
    return g.add(
        rms_norm(b, dense, f"{name}.post_ffw_norm_1"),
        rms_norm(b, routed, f"{name}.post_ffw_norm_2"),
    )


def _layer_inputs(b: Builder, x: Tensor) -> Tensor | None:
    """What each layer gets of each token (n_tok, n_layer * d): the mean (over the root of two) of a
    row of its own table and of a product of the embedding."""
    g, n_layer = b.g, b.hp.n_layer
    d = b.hp.keys.integer("embedding_length_per_layer_input", 0, low=0)
    if not d:
        return None
    table = b.weight("per_layer_token_embd.weight", b.hp.n_vocab, n_layer * d)
    rows = g.scale(g.get_rows(table, b.tokens), d**0.5)
    w = b.weight("per_layer_model_proj.weight", n_layer * d, b.hp.n_embd)
    product = heads(b, g.scale(g.mul_mat(w, x), b.hp.n_embd**-0.5), d)
    product = rms_norm(b, product, "per_layer_proj_norm")
    return g.scale(g.add(g.reshape(product, *rows.shape), rows), 0.5**0.5)


def _token_of_layer(b: Builder, x: Tensor, inputs: Tensor, il: int) -> Tensor:
    """Layer `il`'s part of `inputs`, gated by x and projected."""
    d, name = inputs.shape[1] // b.hp.n_layer, f"blk.{il}"
    own = b.g.view(inputs, il * d, (il + 1) * d)
    gated = b.g.glu("geglu", linear(b, x, f"{name}.inp_gate", d), own)
    return rms_norm(b, linear(b, gated, f"{name}.proj", b.hp.n_embd), f"{name}.post_norm")
