"""Tiny random GGUF models, written as llama.cpp's converters would: `write_model(name, path)`.

A variant is a row of `VARIANTS`: sizes, metadata, parts and tensor types, and the function that
writes its tensors. A new architecture is such a function and its rows. The weights come from a
generator seeded with the variant's name, so a variant is the same file, byte for byte, everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle
from pathlib import Path

import gguf
import numpy as np
import numpy.typing as npt

N_CTX = 256
"""Context that a variant runs with unless it says otherwise."""


@dataclass(frozen=True, slots=True)
class Variant:
    """A tiny model. `n_ff` and `n_head_kv` may have one entry a layer.

    `parts` names the optional tensors it has, `keys` more metadata (`<arch>.` is put before them),
    `types` the tensor types that its matrices take in turn. `seed` picks other weights.
    """

    arch: str
    build: Callable[[Maker], None]
    n_embd: int = 64
    n_layer: int = 2
    n_ff: int | tuple[int, ...] = 96
    n_head: int = 4
    n_head_kv: int | tuple[int, ...] = 2
    head_dim: int = 16
    n_rot: int = 16
    rope_base: float = 10000.0
    parts: Set[str] = frozenset()
    keys: Mapping[str, object] = field(default_factory=dict)
    types: tuple[str, ...] = ("F32",)
    n_ctx: int = N_CTX
    seed: int = 0


# Vocabulary

SPECIAL = ("<unk>", "<s>", "</s>")
WORDS = ("▁t", "▁th", "▁the", "▁a", "an", "and", "▁and", "in", "ing", "er", "▁w")


def _pieces() -> list[str]:
    signs = ["▁", *"abcdefghijklmnopqrstuvwxyz", *"0123456789", *".,!?'"]
    pairs = [consonant + vowel for consonant in "bcdfghjklmnprstv" for vowel in "aeiou"]
    return [*signs, *WORDS, *pairs][:125]


def vocabulary() -> tuple[list[str], list[int], list[float]]:
    """384 SentencePiece tokens: specials, all bytes, letters and a few merges; types and scores."""
    kind = gguf.TokenType
    pieces = _pieces()
    tokens = [*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256)), *pieces]
    types = [kind.UNKNOWN, kind.CONTROL, kind.CONTROL, *[kind.BYTE] * 256]
    types += [kind.NORMAL] * len(pieces)
    scores = [0.0] * 259 + [-float(rank) for rank in range(len(pieces))]
    return tokens, [int(t) for t in types], scores


# Tensor types without an encoder in the gguf package: random blocks of a sensible size


def _f16(value: float) -> bytes:
    return np.float16(value).tobytes()


BLOCK_SCALES: dict[str, tuple[tuple[int, bytes], ...]] = {
    "Q2_K": ((80, _f16(0.0045)), (82, _f16(0.0067))),
    "Q3_K": ((108, _f16(0.0015)),),
    "Q4_K": ((0, _f16(0.00024)), (2, _f16(0.0018))),
    "Q5_K": ((0, _f16(0.00012)), (2, _f16(0.0018))),
    "Q6_K": ((208, _f16(0.000046)),),
    "IQ1_S": ((0, _f16(0.008)),),
    "IQ2_XXS": ((0, _f16(0.0011)),),
    "IQ2_XS": ((0, _f16(0.0011)),),
    "IQ2_S": ((0, _f16(0.0011)),),
    "IQ3_XXS": ((0, _f16(0.00044)),),
    "IQ3_S": ((0, _f16(0.00052)),),
    "IQ4_NL": ((0, _f16(0.0009)),),
    "IQ4_XS": ((0, _f16(0.00005)),),
}
"""Offset and bytes of the scales in a block, such that random codes give weights near 1/16."""


def _random_blocks(
    rng: np.random.Generator, shape: tuple[int, ...], kind: gguf.GGMLQuantizationType
) -> npt.NDArray[np.uint8]:
    n_elements, n_bytes = gguf.GGML_QUANT_SIZES[kind]
    n_blocks = shape[-1] // n_elements
    blocks = rng.integers(0, 256, (*shape[:-1], n_blocks, n_bytes), dtype=np.uint8)
    for offset, scale in BLOCK_SCALES[kind.name]:
        blocks[..., offset : offset + len(scale)] = np.frombuffer(scale, np.uint8)
    return blocks.reshape(*shape[:-1], n_blocks * n_bytes)


# Writing


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
        w.add_context_length(512)
        w.add_embedding_length(v.n_embd)
        w.add_block_count(v.n_layer)
        w.add_feed_forward_length(v.n_ff)
        w.add_head_count(v.n_head)
        w.add_head_count_kv(v.n_head_kv)
        w.add_layer_norm_rms_eps(1e-5)
        w.add_rope_freq_base(v.rope_base)
        w.add_rope_dimension_count(v.n_rot)
        if v.head_dim * v.n_head != v.n_embd:
            w.add_key_length(v.head_dim)
            w.add_value_length(v.head_dim)
        for key, value in v.keys.items():
            self._write_key(f"{v.arch}.{key}", value)

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
        kind = next(self._types)
        if kind.name in BLOCK_SCALES:
            data = _random_blocks(self.rng, (n_out, n_in), kind)
        else:
            values = self.rng.standard_normal((n_out, n_in)) * (gain / np.sqrt(n_in))
            data = gguf.quants.quantize(values.astype(np.float32), kind)
        self._writer.add_tensor(f"{name}.weight", data, raw_dtype=kind)

    def vector(self, name: str, n: int, mean: float = 1.0, spread: float = 0.2) -> None:
        """An f32 vector; the full name, as it may be a weight or a bias."""
        self.constant(name, mean + spread * self.rng.standard_normal(n))

    def constant(self, name: str, values: npt.NDArray[np.float64]) -> None:
        self._writer.add_tensor(name, values.astype(np.float32))

    def close(self) -> None:
        self._writer.write_header_to_file()
        self._writer.write_kv_data_to_file()
        self._writer.write_tensors_to_file()
        self._writer.close()


def write_model(name: str, path: Path) -> None:
    """Write the variant `name` of `VARIANTS` to `path`."""
    variant = VARIANTS[name]
    maker = Maker(name, path, variant)
    variant.build(maker)
    maker.close()


# What the tensors of a model are made of


def _per_layer(value: int | tuple[int, ...], il: int) -> int:
    return value[il] if isinstance(value, tuple) else value


def _ends(m: Maker) -> None:
    """Embedding, final norm, head (or none: then the embedding is used) and RoPE's factors."""
    v, n_pairs = m.variant, m.variant.n_rot // 2
    m.matrix("token_embd", m.n_vocab, v.n_embd, gain=2.0 if m.has("tied") else v.n_embd**0.5)
    m.vector("output_norm.weight", v.n_embd)
    if not m.has("tied"):
        m.matrix("output", m.n_vocab, v.n_embd, gain=2.0)
    if m.has("head_bias"):
        m.vector("output.bias", m.n_vocab, 0.0)
    if m.has("rope_freqs"):
        m.constant("rope_freqs.weight", np.linspace(1.0, 8.0, n_pairs))
    if m.has("rope_factors"):
        m.constant("rope_factors_long.weight", np.linspace(1.0, 6.0, n_pairs))
        m.constant("rope_factors_short.weight", np.linspace(1.0, 1.6, n_pairs))


def _attention(m: Maker, il: int) -> None:
    v, prefix = m.variant, f"blk.{il}.attn"
    n_q, n_kv = v.n_head * v.head_dim, _per_layer(v.n_head_kv, il) * v.head_dim
    m.vector(f"{prefix}_norm.weight", v.n_embd)
    rows = {"qkv": n_q + 2 * n_kv} if m.has("fused_qkv") else {"q": n_q, "k": n_kv, "v": n_kv}
    for name, n in rows.items():
        m.matrix(f"{prefix}_{name}", n, v.n_embd, gain=1.0 if name == "v" else 1.5)
        if m.has("qkv_bias"):
            m.vector(f"{prefix}_{name}.bias", n, 0.0, 0.5)
    if m.has("qk_norm"):
        m.vector(f"{prefix}_q_norm.weight", v.head_dim)
        m.vector(f"{prefix}_k_norm.weight", v.head_dim, 90.0 if m.has("steep_k") else 2.0)
    m.matrix(f"{prefix}_output", v.n_embd, n_q)
    if m.has("attn_output_bias"):
        m.vector(f"{prefix}_output.bias", v.n_embd, 0.0)


def _ffn(m: Maker, il: int) -> None:
    v, prefix, n_ff = m.variant, f"blk.{il}.ffn", _per_layer(m.variant.n_ff, il)
    m.vector(f"{prefix}_norm.weight", v.n_embd)
    rows = {"up": 2 * n_ff} if m.has("fused_ffn") else {"gate": n_ff, "up": n_ff}
    for name, n in rows.items():
        m.matrix(f"{prefix}_{name}", n, v.n_embd)
        if m.has("ffn_bias"):
            m.vector(f"{prefix}_{name}.bias", n, 0.0)
    m.matrix(f"{prefix}_down", v.n_embd, n_ff)
    if m.has("ffn_bias"):
        m.vector(f"{prefix}_down.bias", v.n_embd, 0.0)


def decoder(m: Maker) -> None:
    """The tensors of a pre-norm decoder: llama, qwen2, qwen3 and phi3 differ in their parts."""
    _ends(m)
    for il in range(m.variant.n_layer):
        _attention(m, il)
        _ffn(m, il)


# The variants


def _scaling(kind: str, original: int = 128, **more: object) -> dict[str, object]:
    """Keys of a RoPE stretched four times from a context of `original`."""
    keys = {"type": kind, "factor": 4.0, "original_context_length": original, **more}
    return {f"rope.scaling.{key}": value for key, value in keys.items()}


def _original(length: int, **more: object) -> dict[str, object]:
    """Keys of a RoPE whose long factors serve contexts beyond `length`."""
    keys = {"original_context_length": length, **more}
    return {f"rope.scaling.{key}": value for key, value in keys.items()}


BIASED = {"qkv_bias", "attn_output_bias"}
FUSED = {"fused_qkv", "fused_ffn"}
FACTORS = {*FUSED, "rope_factors"}
BLOCK_TYPES = ("Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "IQ4_NL", "MXFP4")
SUPER_BLOCK_TYPES = ("TQ1_0", "TQ2_0", *(t for t in BLOCK_SCALES if t != "IQ4_NL"))

llama = partial(Variant, "llama", decoder)
qwen2 = partial(Variant, "qwen2", decoder)
qwen3 = partial(Variant, "qwen3", decoder)
phi3 = partial(Variant, "phi3", decoder)

VARIANTS: dict[str, Variant] = {
    "llama": llama(),
    "llama-mha": llama(n_head_kv=4),
    "llama-tied": llama(parts={"tied"}),
    "llama-bias": llama(parts=BIASED),
    "llama-ffn-bias": llama(parts={"ffn_bias"}),
    "llama-fused-qkv": llama(parts={"fused_qkv"}),
    "llama-wide-heads": llama(head_dim=32, n_rot=32),
    "llama-arrays": llama(n_ff=(96, 96), n_head_kv=(2, 2)),
    "llama-linear": llama(keys=_scaling("linear")),
    "llama-yarn": llama(keys=_scaling("yarn")),
    "llama-yarn-attn-factor": llama(keys=_scaling("yarn", attn_factor=1.2)),
    "llama-none": llama(keys=_scaling("none")),
    "llama-rope-freqs": llama(parts={"rope_freqs"}, rope_base=5e5),
    "llama-longrope": llama(parts={"rope_factors"}, keys=_original(128, type="longrope")),
    "llama-untyped-factor": llama(keys={"rope.scaling.factor": 4.0}, seed=1),
    "llama-scale-linear": llama(keys={"rope.scale_linear": 4.0}),
    "llama-half": llama(types=("F16", "BF16")),
    "llama-blocks": llama(n_layer=2, types=BLOCK_TYPES),
    "llama-super-blocks": llama(
        n_embd=256, n_ff=256, n_head=4, head_dim=64, n_rot=64, types=SUPER_BLOCK_TYPES
    ),
    "qwen2": qwen2(parts={"qkv_bias"}),
    "qwen2-no-bias": qwen2(),
    "qwen2-tied": qwen2(parts={"qkv_bias", "tied"}, rope_base=1e6),
    "qwen2-head-bias": qwen2(parts={"qkv_bias", "head_bias"}),
    "qwen2-yarn": qwen2(parts={"qkv_bias"}, keys=_scaling("yarn")),
    "qwen3": qwen3(parts={"qk_norm"}),
    "qwen3-bias": qwen3(parts={"qk_norm", "qkv_bias"}, seed=1),
    "qwen3-wide-heads": qwen3(parts={"qk_norm", "tied"}, head_dim=32, n_rot=32, rope_base=1e6),
    "qwen3-steep": qwen3(parts={"qk_norm", "steep_k"}),
    "qwen3-yarn": qwen3(parts={"qk_norm"}, keys=_scaling("yarn")),
    "phi3": phi3(parts=FUSED, n_head_kv=4, keys=_original(512), seed=2),
    "phi3-split-qkv": phi3(parts={"fused_ffn", "qkv_bias"}, keys=_original(512)),
    "phi3-fused-bias": phi3(parts={*FUSED, "qkv_bias", "tied"}, keys=_original(512)),
    "phi3-short": phi3(parts=FACTORS, keys=_original(512)),
    "phi3-long": phi3(parts=FACTORS, keys=_original(128)),
    "phi3-attn-factor": phi3(parts=FACTORS, keys=_original(128, attn_factor=1.19)),
    "phi3-partial-rope": phi3(parts=FACTORS, n_rot=12, keys=_original(128)),
    "phi3-longrope-factor": phi3(parts=FACTORS, keys=_scaling("longrope", attn_factor=1.19)),
}
