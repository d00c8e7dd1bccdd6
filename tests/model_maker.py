"""What tiny models are written with: `Variant` says what is in one, `Maker` writes it.

`decoder` writes the tensors of most families; a variant's parts say which. The weights come from a
generator seeded with the variant's name, so a variant is the same file, byte for byte, everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path

import gguf
import numpy as np
import numpy.typing as npt
from tiny_data import BLOCK_SCALES, random_blocks, vocabulary

N_CTX = 256
"""Context that a variant runs with unless it says otherwise."""


N_CTX_TRAIN = 512


@dataclass(frozen=True, slots=True)
class Variant:
    """A tiny model. `n_ff`, `n_head` and `n_head_kv` may have one entry a layer.

    The first `n_dense` layers have no experts; `n_ff_shared` is the width of the shared ones.
    `ffn_norm` names the norm before the feed-forward, if there is one.
    `parts` names the optional tensors it has, `keys` more metadata (`<arch>.` is put
    before them, unless they begin with a slash), `types` the types that its matrices take in turn.
    `seed` picks other weights.
    """

    arch: str
    build: Callable[[Maker], None]
    n_embd: int = 64
    n_layer: int = 2
    n_ff: int | tuple[int, ...] = 96
    n_head: int | tuple[int, ...] = 4
    n_head_kv: int | tuple[int, ...] = 2
    head_dim: int = 16
    n_rot: int = 16
    rope_base: float = 10000.0
    parts: Set[str] = frozenset()
    n_expert: int = 0
    n_expert_used: int = 3
    n_ff_exp: int = 32
    n_ff_shared: int = 0
    n_dense: int = 0
    ffn_norm: str = "ffn_norm"
    keys: Mapping[str, object] = field(default_factory=dict)
    types: tuple[str, ...] = ("F32",)
    n_ctx: int = N_CTX
    seed: int = 0


class Maker:
    """Writes one model: metadata and vocabulary at once, tensors as the build function asks."""

    def __init__(self, name: str, path: Path, variant: Variant) -> None:
        self.variant = variant
        self.rng = np.random.default_rng([variant.seed, *name.encode()])
        self._types = cycle(gguf.GGMLQuantizationType[t] for t in variant.types)
        self._writer = gguf.GGUFWriter(path, variant.arch)
        self._write_metadata()
        self._write_vocabulary()

    def _write_metadata(self) -> None:
        v, w = self.variant, self._writer
        w.add_name("tiny")
        w.add_quantization_version(gguf.GGML_QUANT_VERSION)
        w.add_context_length(N_CTX_TRAIN)
        w.add_embedding_length(v.n_embd)
        w.add_block_count(v.n_layer)
        w.add_feed_forward_length(v.n_ff)
        w.add_head_count(v.n_head)
        w.add_head_count_kv(v.n_head_kv)
        if "attention.layer_norm_rms_epsilon" not in v.keys:
            w.add_layer_norm_rms_eps(1e-5)
        w.add_rope_freq_base(v.rope_base)
        w.add_rope_dimension_count(v.n_rot)
        if v.n_head and (isinstance(v.n_head, tuple) or v.head_dim * v.n_head != v.n_embd):
            w.add_key_length(v.head_dim)
            w.add_value_length(v.head_dim)
        if v.n_expert:
            w.add_expert_count(v.n_expert)
            w.add_expert_used_count(v.n_expert_used)
        for key, value in v.keys.items():
            self._write_key(key[1:] if key.startswith("/") else f"{v.arch}.{key}", value)

    def _write_key(self, key: str, value: object) -> None:
        kind = gguf.GGUFValueType.get_type(value)
        self._writer.add_key_value(
            key, value, gguf.GGUFValueType.UINT32 if kind is gguf.GGUFValueType.INT32 else kind
        )

    def _write_vocabulary(self) -> None:
        tokens, types, scores = vocabulary()
        w = self._writer
        w.add_vocab_size(len(tokens))
        w.add_tokenizer_model("llama")
        w.add_tokenizer_pre("default")
        w.add_token_list(tokens)
        w.add_token_scores(scores)
        w.add_token_types(types)
        for rank, add in enumerate((w.add_unk_token_id, w.add_bos_token_id, w.add_eos_token_id)):
            add(rank)
        self.n_vocab = len(tokens)

    def has(self, part: str) -> bool:
        return part in self.variant.parts

    def matrix(self, name: str, n_out: int, n_in: int, gain: float = 1.0) -> None:
        """`<name>.weight`: rows that turn a unit vector's elements into ones of size `gain`."""
        self._matrices(name, (n_out, n_in), gain)

    def stack(self, name: str, n: int, n_out: int, n_in: int, gain: float = 1.0) -> None:
        """`<name>.weight`: `n` matrices."""
        self._matrices(name, (n, n_out, n_in), gain)

    def _matrices(self, name: str, shape: tuple[int, ...], gain: float) -> None:
        kind = next(self._types)
        if kind.name in BLOCK_SCALES:
            data = random_blocks(self.rng, shape, kind)
        else:
            values = self.rng.standard_normal(shape) * (gain / np.sqrt(shape[-1]))
            data = gguf.quants.quantize(values.astype(np.float32), kind)
        self._writer.add_tensor(f"{name}.weight", data, raw_dtype=kind)
        if self.has("scales") and name.startswith("blk.") and not name.endswith("gate_inp"):
            self.vector(f"{name}.scale", shape[0] if len(shape) == 3 else 1)

    def norm(self, name: str, n: int) -> None:
        """The weight of a norm, and its bias where the family has them."""
        if self.has("no_norm_weights"):
            return
        self.vector(f"{name}.weight", n)
        if self.has("norm_bias"):
            self.vector(f"{name}.bias", n, 0.0)

    def vector(self, name: str, n: int, mean: float = 1.0, spread: float = 0.2) -> None:
        """An f32 vector; the full name, as it may be a weight or a bias."""
        self.constant(name, mean + spread * self.rng.standard_normal(n))

    def table(self, name: str, n_row: int, n_col: int, mean: float) -> None:
        """An f32 table, by its full name."""
        self.constant(name, mean + 0.2 * self.rng.standard_normal((n_row, n_col)))

    def constant(self, name: str, values: npt.NDArray[np.float64]) -> None:
        self._writer.add_tensor(name, values.astype(np.float32))

    def close(self) -> None:
        self._writer.write_header_to_file()
        self._writer.write_kv_data_to_file()
        self._writer.write_tensors_to_file()
        self._writer.close()


# What the tensors of a model are made of


def per_layer(value: int | tuple[int, ...], il: int) -> int:
    return value[il] if isinstance(value, tuple) else value


def ends(m: Maker) -> None:
    """Embedding, final norm, head (or none: then the embedding is used) and RoPE's factors."""
    v, n_pairs = m.variant, m.variant.n_rot // 2
    m.matrix("token_embd", m.n_vocab, v.n_embd, gain=2.0 if m.has("tied") else v.n_embd**0.5)
    if m.has("embd_norm"):
        m.norm("token_embd_norm", v.n_embd)
    if m.has("positions"):
        m.matrix("position_embd", N_CTX_TRAIN, v.n_embd, gain=v.n_embd**0.5 / 2)
    m.norm("output_norm", v.n_embd)
    if not m.has("tied"):
        m.matrix("output", m.n_vocab, v.n_embd, gain=2.0)
    if m.has("head_bias"):
        m.vector("output.bias", m.n_vocab, 0.0)
    if m.has("rope_freqs"):
        m.constant("rope_freqs.weight", np.linspace(1.0, 8.0, n_pairs))
    if m.has("rope_factors"):
        m.constant("rope_factors_long.weight", np.linspace(1.0, 6.0, n_pairs))
        m.constant("rope_factors_short.weight", np.linspace(1.0, 1.6, n_pairs))


def attention(m: Maker, il: int) -> None:
    """Norm, projections, q and k norms (by head, by head and element, or over all), sinks."""
    v, prefix = m.variant, f"blk.{il}.attn"
    n_head, n_head_kv = per_layer(v.n_head, il), per_layer(v.n_head_kv, il)
    n_q, n_kv = n_head * v.head_dim, n_head_kv * v.head_dim
    if not m.has("only_post_norms"):
        m.norm(f"{prefix}_norm", v.n_embd)
    if m.has("second_attn_norm"):
        m.norm(f"{prefix}_norm_2", v.n_embd)
    rows = {"qkv": n_q + 2 * n_kv} if m.has("fused_qkv") else {"q": n_q, "k": n_kv, "v": n_kv}
    for name, n in rows.items():
        m.matrix(f"{prefix}_{name}", n, v.n_embd, gain=1.0 if name == "v" else 1.5)
        if m.has("qkv_bias"):
            m.vector(f"{prefix}_{name}.bias", n, 0.0, 0.5)
    if m.has("qk_norm"):
        m.vector(f"{prefix}_q_norm.weight", v.head_dim)
        m.vector(f"{prefix}_k_norm.weight", v.head_dim, 90.0 if m.has("steep_k") else 2.0)
    if m.has("wide_qk_norm"):
        m.vector(f"{prefix}_q_norm.weight", n_q)
        m.vector(f"{prefix}_k_norm.weight", n_kv, 2.0)
    if m.has("qk_norm_by_head"):
        m.table(f"{prefix}_q_norm.weight", n_head, v.head_dim, 1.0)
        m.table(f"{prefix}_k_norm.weight", n_head_kv, v.head_dim, 2.0)
    if m.has("sub_norms"):
        m.norm(f"{prefix}_sub_norm", n_q)
    m.matrix(f"{prefix}_output", v.n_embd, n_q)
    if m.has("attn_output_bias"):
        m.vector(f"{prefix}_output.bias", v.n_embd, 0.0)
    if m.has("sinks"):
        m.vector(f"{prefix}_sinks.weight", n_head, 0.0, 1.0)
    if m.has("head_gate"):
        m.matrix(f"{prefix}_gate", n_head, v.n_embd)
    if m.has("attn_gate"):
        m.matrix(f"{prefix}_gate", n_q, v.n_embd)
    if m.has("post_norms"):
        m.norm(f"blk.{il}.post_attention_norm", v.n_embd)


def feed_forward(m: Maker, il: int, experts: bool = True) -> None:
    """Norm, then a dense feed-forward or experts, then the norm of what it adds."""
    v = m.variant
    if v.ffn_norm:
        m.norm(f"blk.{il}.{v.ffn_norm}", v.n_embd)
    if experts and v.n_expert and il >= v.n_dense:
        routed_experts(m, il)
    else:
        n_ff = per_layer(v.n_ff, il)
        _dense(m, f"blk.{il}.ffn", n_ff // 2 if m.has("halved_ffn") else n_ff)
    if m.has("post_norms"):
        m.norm(f"blk.{il}.post_ffw_norm", v.n_embd)


def _ffn_gain(m: Maker) -> float:
    """`huge`: products of gate and up reach 65,000, where f16 ends."""
    return 150.0 if m.has("huge") else 1.0


def _dense(m: Maker, prefix: str, n_ff: int, suffix: str = "") -> None:
    rows = {"gate": n_ff, "up": n_ff}
    if m.has("fused_ffn"):
        rows = {"up": 2 * n_ff}
    elif m.has("plain_ffn"):
        rows = {"up": n_ff}
    bias = m.has("ffn_bias") and not suffix
    for name, n in rows.items():
        m.matrix(f"{prefix}_{name}{suffix}", n, m.variant.n_embd, gain=_ffn_gain(m))
        if bias:
            m.vector(f"{prefix}_{name}.bias", n, 0.0)
    if m.has("sub_norms"):
        m.norm(f"{prefix}_sub_norm", n_ff)
    m.matrix(f"{prefix}_down{suffix}", m.variant.n_embd, n_ff)
    if bias:
        m.vector(f"{prefix}_down.bias", m.variant.n_embd, 0.0)


def routed_experts(m: Maker, il: int) -> None:
    """The router and its experts, with a shared one where the variant names its width."""
    v, prefix = m.variant, f"blk.{il}.ffn"
    if m.has("shut_router"):
        # All logits of a token have one sign, so that half of the tokens have no weights at all.
        direction = 2000.0 * m.rng.standard_normal(v.n_embd) / np.sqrt(v.n_embd)
        m.constant(f"{prefix}_gate_inp.weight", np.linspace(1, 2, v.n_expert)[:, None] * direction)
    else:
        m.matrix(f"{prefix}_gate_inp", v.n_expert, v.n_embd, gain=2.0)
    if m.has("expert_bias"):
        m.vector(f"{prefix}_gate_inp.bias", v.n_expert, 0.0)
    shapes = {
        "gate": (v.n_ff_exp, v.n_embd),
        "up": (v.n_ff_exp, v.n_embd),
        "down": (v.n_embd, v.n_ff_exp),
    }
    if m.has("fused_experts"):
        shapes = {"gate_up": (2 * v.n_ff_exp, v.n_embd), "down": shapes["down"]}
    for name, (n_out, n_in) in shapes.items():
        m.stack(f"{prefix}_{name}_exps", v.n_expert, n_out, n_in, _ffn_gain(m))
        if m.has("expert_bias"):
            m.table(f"{prefix}_{name}_exps.bias", v.n_expert, n_out, 0.0)
    if m.has("choice_bias"):
        m.vector(f"blk.{il}.exp_probs_b.bias", v.n_expert, 0.0)
    if v.n_ff_shared:
        _dense(m, prefix, v.n_ff_shared, "_shexp")
    if m.has("shared_gate"):
        m.vector(f"{prefix}_gate_inp_shexp.weight", v.n_embd, 0.0, 0.1)


def decoder(m: Maker) -> None:
    """The tensors of most families, which differ in their parts."""
    ends(m)
    for il in range(m.variant.n_layer):
        attention(m, il)
        feed_forward(m, il)


# Metadata


def scaling(kind: str, original: int = 128, **more: object) -> dict[str, object]:
    """Keys of a RoPE stretched four times from a context of `original`."""
    keys = {"type": kind, "factor": 4.0, "original_context_length": original, **more}
    return {f"rope.scaling.{key}": value for key, value in keys.items()}
