"""What tiny models hold: a vocabulary, and blocks of the types of weights."""

from __future__ import annotations

import gguf
import numpy as np
import numpy.typing as npt

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


def random_blocks(
    rng: np.random.Generator, shape: tuple[int, ...], kind: gguf.GGMLQuantizationType
) -> npt.NDArray[np.uint8]:
    """Blocks of a type that the gguf package has no encoder for; weights of a sensible size."""
    n_elements, n_bytes = gguf.GGML_QUANT_SIZES[kind]
    n_blocks = shape[-1] // n_elements
    blocks = rng.integers(0, 256, (*shape[:-1], n_blocks, n_bytes), dtype=np.uint8)
    for offset, scale in BLOCK_SCALES[kind.name]:
        blocks[..., offset : offset + len(scale)] = np.frombuffer(scale, np.uint8)
    return blocks.reshape(*shape[:-1], n_blocks * n_bytes)
