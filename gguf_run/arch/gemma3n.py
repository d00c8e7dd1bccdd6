"""Gemma 3n: four streams of vectors, of which a layer computes the first and predicts and corrects
the others (AltUp, arXiv:2301.13310); a product of low rank beside the attention (LAuReL,
arXiv:2411.07501); gates that let the largest twentieth through in the first layers
(arXiv:2506.06644); caches that the last layers share, and a vector of each token for each layer."""

from __future__ import annotations

from gguf_run.arch.attention import heads, local_rope, rope_params, window
from gguf_run.arch.blocks import embed, head, linear, rms_norm
from gguf_run.arch.builder import Builder
from gguf_run.arch.registry import architecture
from gguf_run.graph import AttentionParams, RopeMode, Tensor

N_STREAM = 4
N_LAYER_WITH_KV = 20
"""The layers behind these have no keys and values of their own."""
N_LAYER_SPARSE, SPARSITY = 10, 1.6448533535003662
"""So many layers have sparse gates; 95 % of a normal distribution lie below so many deviations."""
LAUREL_RANK, N_OWN = 64, 256
PERIOD = 5
LEAST = 1e-30
"""Added to a mean square, so that rows of zeros stay zeros."""

Caches = list[tuple[Tensor, Tensor]]


@architecture("gemma3n")
def gemma3n(b: Builder) -> Tensor:
    g, x, caches = b.g, embed(b, b.hp.n_embd**0.5), Caches()
    inputs = _layer_inputs(b, x)
    streams = _stack(b, [x, *_projected(b, [x] * (N_STREAM - 1), x, "altup_proj")])
    for il in range(b.hp.n_layer):
        predicted = _predict(b, streams, il)
        result = _layer(b, _stream(b, predicted, 0), il, caches)
        corrected = _correct(b, predicted, result, il)
        own = _token_of_layer(b, corrected[0], inputs, il)
        streams = _stack(b, [corrected[0], *(g.add(s, own) for s in corrected[1:])])
    first, *others = [_stream(b, streams, i) for i in range(N_STREAM)]
    x = first
    for other in _projected(b, others, first, "altup_unembd_proj"):
        x = g.add(x, other)
    logits = head(b, g.scale(x, 1 / N_STREAM))
    return g.softcap(logits, b.hp.keys.number("final_logit_softcapping", 30.0))


# Streams (n_tok, N_STREAM, n_embd)


def _stack(b: Builder, rows: list[Tensor]) -> Tensor:
    n_tok, n = rows[0].shape
    stacked = b.g.reshape(rows[0], n_tok, 1, n)
    for row in rows[1:]:
        stacked = b.g.concat(stacked, b.g.reshape(row, n_tok, 1, n))
    return b.g.reshape(stacked, n_tok, len(rows), n)


def _stream(b: Builder, streams: Tensor, i: int) -> Tensor:
    n_tok, n_stream, n = streams.shape
    return b.g.view(b.g.reshape(streams, n_tok, n_stream * n), i * n, (i + 1) * n)


def _projected(b: Builder, rows: list[Tensor], like: Tensor, name: str) -> list[Tensor]:
    """A product of each row, made as long as the row of `like`."""
    g, n_tok, n = b.g, like.shape[0], like.shape[1]
    w = b.weight(f"{name}.weight", N_STREAM - 1, n, n)
    directions = g.rms_norm(g.mul_mat_batched(w, _stack(b, rows)), LEAST)
    # x . (x / rms(x)) is n rms(x).
    length = g.scale(g.sum_rows(g.mul(like, g.rms_norm(like, LEAST))), 1 / n)
    found = [_stream(b, directions, i) for i in range(N_STREAM - 1)]
    return [g.moe_sum(g.reshape(row, n_tok, 1, n), length) for row in found]


def _router(b: Builder, x: Tensor, il: int) -> Tensor:
    """How much of each stream x has: (n_tok, N_STREAM), between -1 and 1."""
    normed = b.g.scale(rms_norm(b, x, f"blk.{il}.altup_router_norm"), 1 / b.hp.n_embd)
    return b.g.softcap(linear(b, normed, f"blk.{il}.altup_router", N_STREAM), 1.0)


def _predict(b: Builder, streams: Tensor, il: int) -> Tensor:
    """Each stream plus a sum of all, by coefficients that the first one gives."""
    g = b.g
    shares = _router(b, _stream(b, streams, 0), il)
    factors = linear(b, shares, f"blk.{il}.altup_predict_coef", N_STREAM**2)
    of_stream = [g.view(factors, i * N_STREAM, (i + 1) * N_STREAM) for i in range(N_STREAM)]
    return g.add(_stack(b, [g.moe_sum(streams, f) for f in of_stream]), streams)


def _correct(b: Builder, predicted: Tensor, result: Tensor, il: int) -> list[Tensor]:
    """Each stream plus its share of what the layer found beyond its prediction."""
    g, (n_tok, _, n) = b.g, predicted.shape
    factors = linear(b, _router(b, result, il), f"blk.{il}.altup_correct_coef", N_STREAM)
    factors = g.scale(factors, 1.0, bias=1.0)
    streams = [_stream(b, predicted, i) for i in range(N_STREAM)]
    found = g.reshape(g.add(result, g.scale(streams[0], -1.0)), n_tok, 1, n)
    return [
        g.add(g.moe_sum(found, g.view(factors, i, i + 1)), stream)
        for i, stream in enumerate(streams)
    ]


# A layer


def _layer(b: Builder, x: Tensor, il: int, caches: Caches) -> Tensor:
    g, name = b.g, f"blk.{il}"
    normed = rms_norm(b, x, f"{name}.attn_norm")
    low = linear(
        b, linear(b, normed, f"{name}.laurel_l", LAUREL_RANK), f"{name}.laurel_r", x.shape[1]
    )
    low = g.add(rms_norm(b, low, f"{name}.laurel_post_norm"), normed)
    attended = rms_norm(b, _attention(b, normed, il, caches), f"{name}.post_attention_norm")
    x = g.scale(g.add(g.add(attended, x), low), 0.5**0.5)
    found = _feed_forward(b, rms_norm(b, x, f"{name}.ffn_norm"), il)
    return g.add(rms_norm(b, found, f"{name}.post_ffw_norm"), x)


def _attention(b: Builder, x: Tensor, il: int, caches: Caches) -> Tensor:
    """Scores are not scaled; of the layers without keys those with a window read the caches of the
    last but one that has them, the others of the last."""
    g, hp, name, size = b.g, b.hp, f"blk.{il}.attn", window(b, il, PERIOD)
    d, n_head, n_kv = hp.head_dim_k, hp.n_head[il], hp.n_head_kv[il]
    rope = rope_params(b, RopeMode.NEOX)
    if size:
        rope = local_rope(b, rope)
    q = rms_norm(b, heads(b, linear(b, x, f"{name}_q", n_head * d), d), f"{name}_q_norm")
    q = g.rope(q, b.positions, rope)
    if il < N_LAYER_WITH_KV:
        k = rms_norm(b, heads(b, linear(b, x, f"{name}_k", n_kv * d), d), f"{name}_k_norm")
        k = g.rope(k, b.positions, rope)
        v = g.rms_norm(heads(b, linear(b, x, f"{name}_v", n_kv * d), d), hp.norm_rms_eps)
        keys = g.set_rows(b.cache_k(il, n_kv, d, size), k, b.slots(size))
        caches.append((keys, g.set_rows(b.cache_v(il, n_kv, d, size), v, b.slots(size))))
        cached = caches[-1]
    else:
        cached = caches[-2 if size else -1]
    table, params = b.block_table(size), AttentionParams(1.0, size)
    found = g.flash_attn_ext(q, *cached, b.positions, b.seq_ids, table, params)
    return linear(b, g.reshape(found, x.shape[0], n_head * d), f"{name}_output", hp.n_embd)


def _feed_forward(b: Builder, x: Tensor, il: int) -> Tensor:
    n_ff, name = b.hp.n_ff[il], f"blk.{il}.ffn"
    gate, up = linear(b, x, f"{name}_gate", n_ff), linear(b, x, f"{name}_up", n_ff)
    gate = _largest(b, gate) if il < N_LAYER_SPARSE else gate
    return linear(b, b.g.glu("geglu", gate, up), f"{name}_down", b.hp.n_embd)


def _largest(b: Builder, x: Tensor) -> Tensor:
    """max(x - (mean + SPARSITY * deviation), 0), row by row."""
    g, (n_tok, n) = b.g, x.shape
    standard = g.norm(x, LEAST)
    deviation = g.scale(g.sum_rows(g.mul(x, standard)), 1 / n)
    # The deviation of a sample counts n - 1 elements, that of `norm` n.
    above = g.unary("relu", g.scale(standard, 1.0, bias=-SPARSITY * (n / (n - 1)) ** 0.5))
    return g.moe_sum(g.reshape(above, n_tok, 1, n), deviation)


# A vector of each token for each layer


def _layer_inputs(b: Builder, x: Tensor) -> Tensor:
    """The mean (over the root of two) of a row of the layers' table and of a product of x, (n_tok,
    n_layer * N_OWN)."""
    g, n = b.g, b.hp.n_layer * N_OWN
    table = b.weight("per_layer_token_embd.weight", b.hp.n_vocab, n)
    rows = g.scale(g.get_rows(table, b.tokens), N_OWN**0.5)
    product = g.mul_mat(b.weight("per_layer_model_proj.weight", n, b.hp.n_embd), x)
    product = heads(b, g.scale(product, b.hp.n_embd**-0.5), N_OWN)
    product = rms_norm(b, product, "per_layer_proj_norm")
    return g.scale(g.add(g.reshape(product, *rows.shape), rows), 0.5**0.5)


def _token_of_layer(b: Builder, x: Tensor, inputs: Tensor, il: int) -> Tensor:
    """Layer `il`'s part of `inputs`, gated by x and projected."""
    g, name = b.g, f"blk.{il}"
    own = g.view(inputs, il * N_OWN, (il + 1) * N_OWN)
    x = g.mul(x, b.weight(f"{name}.altup_correct_scale.weight", b.hp.n_embd))
    gated = g.glu("geglu", linear(b, x, f"{name}.inp_gate", N_OWN), own)
    return rms_norm(b, linear(b, gated, f"{name}.proj", b.hp.n_embd), f"{name}.post_norm")
