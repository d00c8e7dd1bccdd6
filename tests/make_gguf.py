"""Tiny random GGUF models, written as llama.cpp's converters would: `write_model(name, path)`.

A variant is a row of `VARIANTS`: sizes, metadata, parts and tensor types, and the function that
writes its tensors. A new architecture is such a function, where its parts are none of `decoder`'s,
and its rows, here or in `families.py`.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from families import FAMILIES
from model_maker import Maker, Variant, decoder, scaling
from tiny_data import BLOCK_SCALES


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
    **FAMILIES,
    "llama": llama(),
    "llama-mha": llama(n_head_kv=4),
    "llama-tied": llama(parts={"tied"}),
    "llama-bias": llama(parts=BIASED),
    "llama-ffn-bias": llama(parts={"ffn_bias"}),
    "llama-fused-qkv": llama(parts={"fused_qkv"}),
    "llama-wide-heads": llama(head_dim=32, n_rot=32),
    "llama-arrays": llama(n_ff=(96, 96), n_head_kv=(2, 2)),
    "llama-linear": llama(keys=scaling("linear")),
    "llama-yarn": llama(keys=scaling("yarn")),
    "llama-yarn-attn-factor": llama(keys=scaling("yarn", attn_factor=1.2)),
    "llama-none": llama(keys=scaling("none")),
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
    "qwen2-yarn": qwen2(parts={"qkv_bias"}, keys=scaling("yarn")),
    "qwen3": qwen3(parts={"qk_norm"}),
    "qwen3-bias": qwen3(parts={"qk_norm", "qkv_bias"}, seed=1),
    "qwen3-wide-heads": qwen3(parts={"qk_norm", "tied"}, head_dim=32, n_rot=32, rope_base=1e6),
    "qwen3-steep": qwen3(parts={"qk_norm", "steep_k"}),
    "qwen3-yarn": qwen3(parts={"qk_norm"}, keys=scaling("yarn")),
    "phi3": phi3(parts=FUSED, n_head_kv=4, keys=_original(512), seed=2),
    "phi3-split-qkv": phi3(parts={"fused_ffn", "qkv_bias"}, keys=_original(512)),
    "phi3-fused-bias": phi3(parts={*FUSED, "qkv_bias", "tied"}, keys=_original(512)),
    "phi3-short": phi3(parts=FACTORS, keys=_original(512)),
    "phi3-long": phi3(parts=FACTORS, keys=_original(128)),
    "phi3-attn-factor": phi3(parts=FACTORS, keys=_original(128, attn_factor=1.19)),
    "phi3-partial-rope": phi3(parts=FACTORS, n_rot=12, keys=_original(128)),
    "phi3-longrope-factor": phi3(parts=FACTORS, keys=scaling("longrope", attn_factor=1.19)),
}


def write_model(name: str, path: Path) -> None:
    """Write the variant `name` of `VARIANTS` to `path`."""
    variant = VARIANTS[name]
    maker = Maker(name, path, variant)
    variant.build(maker)
    maker.close()
