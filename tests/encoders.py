"""Tiny random models of embeddings, which see both ways: `write_encoder(name, path)`.

The rows of `ENCODERS` say what is in one.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import gguf
from model_maker import Maker, Variant, attention, decoder, feed_forward
from tiny_data import vocabulary

CONTROL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
PAD, UNK, CLS, SEP, MASK = range(5)


def word_pieces() -> list[str]:
    """BERT's control tokens, then the letters and words of the other models, once as the beginning
    of a word and once as what goes on."""
    plain = [t.removeprefix("▁") for t in vocabulary()[0][259:] if t != "▁"]
    return [*CONTROL, *(f"▁{t}" for t in dict.fromkeys(plain)), *dict.fromkeys(plain)]


class _WordPieceMaker(Maker):
    """Writes BERT's kind of vocabulary."""

    def _write_vocabulary(self) -> None:
        tokens, kind = word_pieces(), gguf.TokenType
        n_plain = len(tokens) - len(CONTROL)
        writer = self._writer
        writer.add_tokenizer_model("bert")
        writer.add_tokenizer_pre("jina-v2-en")
        writer.add_token_list(tokens)
        writer.add_token_types([int(kind.CONTROL)] * len(CONTROL) + [int(kind.NORMAL)] * n_plain)
        writer.add_token_type_count(2)
        writer.add_bos_token_id(CLS)
        writer.add_unk_token_id(UNK)
        writer.add_sep_token_id(SEP)
        writer.add_pad_token_id(PAD)
        writer.add_mask_token_id(MASK)
        self.n_vocab = len(tokens)


def encoder(m: Maker) -> None:
    """The tensors of BERT's kind."""
    v = m.variant
    m.matrix("token_embd", m.n_vocab, v.n_embd, gain=v.n_embd**0.5)
    if not m.has("untyped"):
        m.table("token_types.weight", 2, v.n_embd, 0.0)
    if m.has("positions"):
        m.matrix("position_embd", 512, v.n_embd, gain=v.n_embd**0.5 / 2)
    m.norm("token_embd_norm", v.n_embd)
    for il in range(v.n_layer):
        attention(m, il)
        if m.has("all_heads_norm"):
            for name in "qk":
                m.norm(f"blk.{il}.attn_{name}_norm", v.n_embd)
        m.norm(f"blk.{il}.attn_output_norm", v.n_embd)
        if m.has("attn_norm_2"):
            m.norm(f"blk.{il}.attn_norm_2", v.n_embd)
        if m.has("some_experts") and il % 2:
            m.matrix(f"blk.{il}.ffn_gate_inp", v.n_expert, v.n_embd, gain=2.0)
            m.stack(f"blk.{il}.ffn_up_exps", v.n_expert, v.n_ff, v.n_embd)
            m.stack(f"blk.{il}.ffn_down_exps", v.n_expert, v.n_embd, v.n_ff)
        else:
            feed_forward(m, il, experts=False)
        if m.has("down_bias"):
            m.vector(f"blk.{il}.ffn_down.bias", v.n_embd, 0.0)
        m.norm(f"blk.{il}.layer_output_norm", v.n_embd)


def modern_encoder(m: Maker) -> None:
    """The tensors of ModernBERT, whose first layer has no norm in front."""
    v = m.variant
    m.matrix("token_embd", m.n_vocab, v.n_embd, gain=v.n_embd**0.5)
    m.norm("token_embd_norm", v.n_embd)
    for il in range(v.n_layer):
        if il:
            m.norm(f"blk.{il}.attn_norm", v.n_embd)
        attention(m, il)
        feed_forward(m, il)
    m.norm("output_norm", v.n_embd)


def gemma_embedding(m: Maker) -> None:
    decoder(m)
    if m.has("projections"):
        m.matrix("dense_2", 96, m.variant.n_embd)
        m.matrix("dense_3", m.variant.n_embd, 96)


def _bert(arch: str, *parts: str, pooling: int = 1, **more: Any) -> Variant:
    keys = {
        "attention.layer_norm_epsilon": 1e-5,
        "attention.causal": False,
        "pooling_type": pooling,
        **more.pop("keys", {}),
    }
    every = frozenset((*parts, "only_post_norms", "norm_bias"))
    return Variant(arch, encoder, n_head_kv=4, ffn_norm="", parts=every, keys=keys, **more)


def _modern() -> Variant:
    keys = {
        "attention.layer_norm_epsilon": 1e-5,
        "attention.causal": False,
        "attention.sliding_window": 24,
        "rope.freq_base_swa": 1000.0,
        "pooling_type": 2,
    }
    parts = frozenset({"only_post_norms", "fused_qkv", "fused_ffn"})
    return Variant(
        "modern-bert",
        modern_encoder,
        n_layer=5,
        n_head_kv=4,
        rope_base=160000.0,
        parts=parts,
        keys=keys,
    )


def _gemma(*parts: str) -> Variant:
    keys = {
        "attention.sliding_window": 24,
        "pooling_type": 1,
        "dense_2_feat_in": 64,
        "dense_2_feat_out": 96,
        "dense_3_feat_in": 96,
        "dense_3_feat_out": 64,
    }
    every = frozenset((*parts, "qk_norm", "post_norms", "tied"))
    return Variant("gemma-embedding", gemma_embedding, n_layer=7, parts=every, keys=keys)


bert = partial(_bert, "bert", "positions", "attn_output_bias", "ffn_bias", "plain_ffn")
jina = partial(_bert, "jina-bert-v2", "qkv_bias", "attn_output_bias", "down_bias")

ENCODERS: dict[str, Variant] = {
    "bert": bert("qkv_bias"),
    "bert-cls": bert("qkv_bias", pooling=2),
    "bert-fused-qkv": bert("qkv_bias", "fused_qkv", "untyped"),
    "nomic-bert": _bert("nomic-bert", "fused_qkv", rope_base=1000.0),
    "nomic-bert-moe": _bert(
        "nomic-bert-moe",
        *("fused_qkv", "qkv_bias", "attn_output_bias", "plain_ffn", "ffn_bias", "some_experts"),
        n_expert=8,
        n_expert_used=2,
        n_layer=4,
        keys={"moe_every_n_layers": 2},
    ),
    "jina-bert-v2": jina(),
    "jina-bert-v2-code": jina("all_heads_norm", "attn_norm_2", "fused_ffn"),
    "jina-bert-v3": _bert(
        "jina-bert-v3",
        *("fused_qkv", "qkv_bias", "attn_output_bias", "plain_ffn", "ffn_bias"),
        rope_base=20000.0,
    ),
    "modern-bert": _modern(),
    "qwen2-both-ways": Variant(
        "qwen2",
        decoder,
        parts=frozenset({"qkv_bias"}),
        keys={"attention.causal": False, "pooling_type": 3},
    ),
    "gemma-embedding": _gemma(),
    "gemma-embedding-projected": _gemma("projections"),
}


def write_encoder(name: str, path: Path) -> None:
    """Write the row `name` of `ENCODERS` to `path`."""
    variant = ENCODERS[name]
    made_with = _WordPieceMaker if variant.build in (encoder, modern_encoder) else Maker
    maker = made_with(name, path, variant)
    variant.build(maker)
    maker.close()
