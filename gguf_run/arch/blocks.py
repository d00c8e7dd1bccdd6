"""The parts that architectures are made of: embedding, attention, feed-forward, head."""

from __future__ import annotations

from gguf_run.arch.builder import Builder
from gguf_run.graph import AttentionParams, RopeMode, RopeParams, Tensor


def embed(b: Builder) -> Tensor:
    """Rows of the embedding for the batch's tokens (n_tok, n_embd)."""
    table = b.weight("token_embd.weight", b.hp.n_vocab, b.hp.n_embd)
    return b.g.get_rows(table, b.tokens)


def rms_norm(b: Builder, x: Tensor, name: str) -> Tensor:
    """RMS norm over the last dimension, times the weight `<name>.weight`."""
    normed = b.g.rms_norm(x, b.hp.norm_rms_eps)
    return b.g.mul(normed, b.weight(f"{name}.weight", x.shape[-1]))


def linear(b: Builder, x: Tensor, name: str, n_out: int) -> Tensor:
    """x @ w.T, plus the bias where the file has one."""
    y = b.g.mul_mat(b.weight(f"{name}.weight", n_out, x.shape[-1]), x)
    bias = b.maybe(f"{name}.bias", n_out)
    return y if bias is None else b.g.add(y, bias)


def rope_params(b: Builder, mode: RopeMode) -> RopeParams:
    """The model's RoPE with its context scaling."""
    hp, scaling = b.hp, b.hp.rope_scaling
    return RopeParams(
        mode=mode,
        n_dims=hp.n_rot,
        freq_base=hp.rope_freq_base,
        freq_scale=scaling.freq_scale,
        ext_factor=scaling.ext_factor,
        attn_factor=scaling.attn_factor,
        n_ctx_orig=scaling.n_ctx_orig,
    )


def rope_factors(b: Builder) -> Tensor | None:
    """Frequency divisors (n_rot / 2,), or None.

    `rope_freqs` (Llama 3.1) serves any context; of LongRoPE's two sets (arXiv:2402.13753) the long
    one serves contexts beyond the original length.
    """
    n = b.hp.n_rot // 2
    factors = b.maybe("rope_freqs.weight", n)
    if factors is not None:
        return factors
    long = b.maybe("rope_factors_long.weight", n)
    short = b.maybe("rope_factors_short.weight", n)
    return long if b.cache.n_ctx > b.hp.rope_scaling.n_ctx_orig else short


def qkv(b: Builder, x: Tensor, il: int) -> tuple[Tensor, Tensor, Tensor]:
    """Projections of x to heads: q (n_tok, n_head, d_k), k (n_tok, n_head_kv, d_k), v (.., d_v).

    The file holds three matrices or one, `attn_qkv`, with q's rows first.
    """
    hp = b.hp
    n_q, n_kv = hp.n_head[il], hp.n_head_kv[il]
    widths = (n_q * hp.head_dim_k, n_kv * hp.head_dim_k, n_kv * hp.head_dim_v)
    fused = f"blk.{il}.attn_qkv"
    if f"{fused}.weight" in b.weights.tensors:
        all_three = linear(b, x, fused, sum(widths))
        ends = (widths[0], widths[0] + widths[1], sum(widths))
        starts = (0, *ends[:2])
        q, k, v = (b.g.view(all_three, i, j) for i, j in zip(starts, ends, strict=True))
    else:
        q, k, v = (
            linear(b, x, f"blk.{il}.attn_{name}", width)
            for name, width in zip("qkv", widths, strict=True)
        )
    n_tok = x.shape[0]
    return (
        b.g.reshape(q, n_tok, n_q, hp.head_dim_k),
        b.g.reshape(k, n_tok, n_kv, hp.head_dim_k),
        b.g.reshape(v, n_tok, n_kv, hp.head_dim_v),
    )


def attend(b: Builder, q: Tensor, k: Tensor, v: Tensor, il: int, params: AttentionParams) -> Tensor:
    """Append k and v to the cache, attend, project back to (n_tok, n_embd)."""
    g, n_kv = b.g, k.shape[1]
    keys = g.set_rows(b.cache_k(il, n_kv, k.shape[2]), k, b.slots)
    values = g.set_rows(b.cache_v(il, n_kv, v.shape[2]), v, b.slots)
    heads = g.flash_attn_ext(q, keys, values, b.positions, b.seq_ids, b.block_table, params)
    merged = g.reshape(heads, q.shape[0], q.shape[1] * v.shape[2])
    return linear(b, merged, f"blk.{il}.attn_output", b.hp.n_embd)


def attention(
    b: Builder, x: Tensor, il: int, rope: RopeParams, factors: Tensor | None = None
) -> Tensor:
    """Grouped-query attention (arXiv:2305.13245), with q/k norms where the file has them."""
    q, k, v = qkv(b, x, il)
    if f"blk.{il}.attn_q_norm.weight" in b.weights.tensors:
        q = rms_norm(b, q, f"blk.{il}.attn_q_norm")
        k = rms_norm(b, k, f"blk.{il}.attn_k_norm")
    q = b.g.rope(q, b.positions, rope, factors)
    k = b.g.rope(k, b.positions, rope, factors)
    return attend(b, q, k, v, il, AttentionParams(scale=b.hp.head_dim_k**-0.5))


def ffn(b: Builder, x: Tensor, il: int, glu: str = "swiglu") -> Tensor:
    """Gated feed-forward: down(act(gate(x)) * up(x)).

    Without `ffn_gate` the rows of `ffn_up` hold the gate first, then the up projection.
    """
    n_ff, name = b.hp.n_ff[il], f"blk.{il}.ffn"
    if f"{name}_gate.weight" in b.weights.tensors:
        gate, up = linear(b, x, f"{name}_gate", n_ff), linear(b, x, f"{name}_up", n_ff)
    else:
        both = linear(b, x, f"{name}_up", 2 * n_ff)
        gate, up = b.g.view(both, 0, n_ff), b.g.view(both, n_ff, 2 * n_ff)
    return linear(b, b.g.glu(glu, gate, up), f"{name}_down", b.hp.n_embd)


def head(b: Builder, x: Tensor) -> Tensor:
    """Logits (n_out, n_vocab) of the wanted rows; a file without `output` reuses the embedding."""
    x = rms_norm(b, b.g.get_rows(x, b.out_rows), "output_norm")
    tied = "output.weight" not in b.weights.tensors
    w = b.weight("token_embd.weight" if tied else "output.weight", b.hp.n_vocab, b.hp.n_embd)
    logits = b.g.mul_mat(w, x)
    bias = b.maybe("output.bias", b.hp.n_vocab)
    return logits if bias is None else b.g.add(logits, bias)


def transformer(b: Builder, rope: RopeParams, factors: Tensor | None = None) -> Tensor:
    """The pre-norm decoder that most families share: h += attention(norm(h)); h += ffn(norm(h))."""
    x = embed(b)
    for il in range(b.hp.n_layer):
        x = b.g.add(x, attention(b, rms_norm(b, x, f"blk.{il}.attn_norm"), il, rope, factors))
        x = b.g.add(x, ffn(b, rms_norm(b, x, f"blk.{il}.ffn_norm"), il))
    return head(b, x)
