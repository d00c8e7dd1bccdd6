"""Encoders of BERT's kind (arXiv:1810.04805), whose states embed a text: BERT, nomic-embed
(arXiv:2402.01613, arXiv:2502.07972), jina-embeddings 2 and 3 (arXiv:2310.19923, arXiv:2409.10173)
and ModernBERT (arXiv:2412.13663).

They see both ways and, but for the last, normalise behind what they add. What tells a token's
position is learned, RoPE, or a bias on the scores.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from gguf_run.arch.attention import (
    attention,
    attention_params,
    head_norms,
    learned_positions,
    qkv,
    rope_params,
    rotate_and_attend,
    split_heads,
    window_rope,
)
from gguf_run.arch.blocks import Part, embed, ffn, gated_ffn, layer_norm, mlp
from gguf_run.arch.builder import Builder
from gguf_run.arch.layers import pre_norm
from gguf_run.arch.moe import choice, expert_linear, router
from gguf_run.arch.registry import encoder
from gguf_run.graph import RopeMode, RopeParams, Tensor

JINA_MAX_BIAS = 8.0
"""The published models' (arXiv:2108.12409); files do not say."""


@encoder("bert")
def bert(b: Builder) -> Tensor:
    x = b.g.add(_typed(b), learned_positions(b))
    return _layers(b, x, partial(_attention, rope=None), mlp)


@encoder("nomic-bert")
def nomic_bert(b: Builder) -> Tensor:
    return _layers(b, _typed(b), _roped(b), ffn)


@encoder("nomic-bert-moe")
def nomic_bert_moe(b: Builder) -> Tensor:
    """Every so many layers experts, which have no gates."""
    period = b.hp.keys.integer("moe_every_n_layers", 0, low=0)
    params = router(b, normalise=False)

    def feed_forward(b: Builder, x: Tensor, il: int) -> Tensor:
        if not period or il % period != 1:
            return mlp(b, x, il)
        ids, weights = choice(b, x, il, params)
        rows = b.g.reshape(x, x.shape[0], 1, x.shape[1])
        up = expert_linear(b, rows, f"blk.{il}.ffn_up_exps", b.hp.n_ff[il], ids)
        act = b.g.unary("gelu", up)
        return b.g.moe_sum(
            expert_linear(b, act, f"blk.{il}.ffn_down_exps", b.hp.n_embd, ids), weights
        )

    return _layers(b, _typed(b), _roped(b), feed_forward)


@encoder("jina-bert-v3")
def jina_bert_v3(b: Builder) -> Tensor:
    return _layers(b, _typed(b), _roped(b), mlp)


@encoder("jina-bert-v2")
def jina_bert_v2(b: Builder) -> Tensor:
    attend = partial(_attention, rope=None, max_bias=JINA_MAX_BIAS)
    return _layers(b, _typed(b), attend, _jina_ffn)


@encoder("modern-bert")
def modern_bert(b: Builder) -> Tensor:
    """Layers that normalise first; the first of every three sees all, the others a window."""
    rope = rope_params(b, RopeMode.NEOX)
    local = window_rope(b, rope)
    period = b.hp.keys.integer("attention.sliding_window_pattern", 3)

    def attend(b: Builder, x: Tensor, il: int) -> Tensor:
        size = b.hp.window if il % period else 0
        params = replace(attention_params(b, size), causal=False)
        return attention(b, x, il, local if size else rope, params=params)

    def norm(b: Builder, x: Tensor, name: str) -> Tensor:
        # The first layer gets what the embedding's norm has made.
        return layer_norm(b, x, name) if b.has(f"{name}.weight") else x

    x = layer_norm(b, embed(b), "token_embd_norm")
    x = pre_norm(b, x, attend, partial(ffn, glu="geglu"), norm=norm)
    b.hidden = layer_norm(b, b.g.get_rows(x, b.out_rows), "output_norm")
    return b.hidden


def _roped(b: Builder) -> Part:
    return partial(_attention, rope=rope_params(b, RopeMode.NEOX))


def _typed(b: Builder) -> Tensor:
    """The embedding of tokens and of which text they are of (n_tok, n_embd)."""
    x = embed(b)
    if not b.has("token_types.weight"):
        return x
    n_type = b.weights.tensors["token_types.weight"].shape[0]
    table = b.weight("token_types.weight", n_type, b.hp.n_embd)
    return b.g.add(x, b.g.get_rows(table, b.token_types))


def _layers(b: Builder, x: Tensor, attend: Part, feed_forward: Part) -> Tensor:
    """From embeddings to the states of the wanted rows (n_out, n_embd)."""
    x = layer_norm(b, x, "token_embd_norm")
    for il in range(b.hp.n_layer):
        name, before = f"blk.{il}", x
        x = layer_norm(b, b.g.add(attend(b, x, il), before), f"{name}.attn_output_norm")
        if b.has(f"{name}.attn_norm_2.weight"):
            x = layer_norm(b, b.g.add(x, before), f"{name}.attn_norm_2")
        x = layer_norm(b, b.g.add(feed_forward(b, x, il), x), f"{name}.layer_output_norm")
    b.hidden = b.g.get_rows(x, b.out_rows)
    return b.hidden


def _attention(
    b: Builder, x: Tensor, il: int, rope: RopeParams | None, max_bias: float = 0.0
) -> Tensor:
    """q and k normalised over all heads at once where the file says; every key is seen."""
    q, k, v = qkv(b, x, il)
    q, k = head_norms(b, q, k, il, layer_norm)
    params = replace(attention_params(b), causal=False, max_bias=max_bias)
    return rotate_and_attend(b, *split_heads(b, q, k, v), il, rope, None, params)


def _jina_ffn(b: Builder, x: Tensor, il: int) -> Tensor:
    """Gated by GELU, the gate by itself or in the up projection's first rows; or without."""
    name, n_ff = f"blk.{il}.ffn", b.hp.n_ff[il]
    up = b.weights.tensors.get(f"{name}_up.weight")
    if b.has(f"{name}_gate.weight") or (up is not None and up.shape[0] == 2 * n_ff):
        return gated_ffn(b, x, name, n_ff, "geglu")
    return mlp(b, x, il)
