"""Seeded data for op cases: values by leaf, stored as tensor types store them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt
from tiny_data import BLOCK_SCALES

from gguf_run.graph import F32, I32, Q8_1, Q16_1, Kind, Tensor
from gguf_run.quants import QUANT_TYPES, QuantType

Array = npt.NDArray[Any]
Draw = Callable[[np.random.Generator, Tensor], Array]
"""Values of a leaf in its shape: float32, or int32 for I32 inputs."""

ENCODED = (
    *("F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"),
    *("TQ1_0", "TQ2_0", "MXFP4"),
)
"""Types that the gguf package encodes; blocks of all others are drawn at random."""

WEIGHT_TYPES = tuple(
    t.name
    for t in QUANT_TYPES.values()
    if t.decoder is not None and t.name not in ("I8", "I16", "I32", "I64", "F64")
)
"""Types that matrices of models have."""


def normal(mean: float = 0.0, spread: float = 1.0) -> Draw:
    """Normally distributed values."""

    def draw(rng: np.random.Generator, t: Tensor) -> Array:
        return (mean + spread * rng.standard_normal(t.shape)).astype(np.float32)

    return draw


def integers(low: int, high: int) -> Draw:
    """Integers low <= i < high."""

    def draw(rng: np.random.Generator, t: Tensor) -> Array:
        return rng.integers(low, high, t.shape, dtype=np.int32)

    return draw


def distinct(high: int) -> Draw:
    """Different integers 0 <= i < high, in random order (slots of a cache, pages)."""

    def draw(rng: np.random.Generator, t: Tensor) -> Array:
        return rng.permutation(high)[: t.n_elements].reshape(t.shape).astype(np.int32)

    return draw


def values(array: npt.ArrayLike) -> Draw:
    """These values."""

    def draw(rng: np.random.Generator, t: Tensor) -> Array:
        dtype = np.int32 if t.dtype is I32 else np.float32
        return np.broadcast_to(np.asarray(array, dtype), t.shape)

    return draw


def stored(rng: np.random.Generator, t: Tensor, draw: Draw | None) -> Array:
    """The bytes of leaf `t`: I32, F32 and F16 as arrays of numbers, all others uint8 rows.

    Types that nobody here can encode get random blocks with scales such that weights are near
    1/16; they take no `draw`.
    """
    if t.dtype is I32:
        assert draw is not None, f"{t.name}: integers need a range"
        return draw(rng, t)
    if t.dtype is Q8_1:
        return activations(rng, t)
    if t.dtype.name not in ENCODED:
        assert draw is None, f"{t.name}: no encoder for {t.dtype.name}"
        return random_blocks(rng, t)
    numbers = (draw or _default(t))(rng, t)
    if t.dtype is F32:
        return np.ascontiguousarray(numbers, np.float32)
    encoded: Array = gguf.quants.quantize(
        np.ascontiguousarray(numbers, np.float32), gguf.GGMLQuantizationType(t.dtype.id)
    )
    return encoded


def _default(t: Tensor) -> Draw:
    return normal(0, t.shape[-1] ** -0.5) if t.kind is Kind.WEIGHT else normal()


def activations(rng: np.random.Generator, t: Tensor) -> Array:
    """Rows as `Graph.cast` leaves them: int8 numbers, then (scale, scale times their sum)."""
    q = rng.integers(-127, 128, t.shape, dtype=np.int8)
    d = rng.uniform(0.001, 0.02, (*t.shape[:-1], t.shape[-1] // 32)).astype(np.float32)
    sums = q.reshape(*d.shape, 32).sum(axis=-1, dtype=np.int32)
    scales = np.stack([d, d * sums], axis=-1).astype(np.float32)
    rows = scales.reshape(*t.shape[:-1], -1).view(np.uint8)
    return np.concatenate([q.view(np.uint8), rows], axis=-1)


def cast_back(rows: Array, n_col: int) -> Array:
    """What rows of Q8_1 or Q16_1 say, as float32 (..., n_col)."""
    n_term = 2 if rows.shape[-1] == Q16_1.row_bytes(n_col) else 1
    scales = np.ascontiguousarray(rows[..., n_term * n_col :]).view(np.float32)[..., ::2, None]
    terms = rows[..., : n_term * n_col].view(np.int8).reshape(*rows.shape[:-1], n_term, -1, 32)
    q = np.zeros_like(terms[..., 0, :, :], np.float32)
    for i in range(n_term):
        q = 256 * q + terms[..., i, :, :]
    result: Array = (q * scales).reshape(*rows.shape[:-1], n_col)
    return result


def random_blocks(rng: np.random.Generator, t: Tensor) -> Array:
    """Blocks of random codes, each with scales of its own."""
    kind: QuantType = t.dtype
    n_block = t.n_elements // kind.block_size
    blocks = rng.integers(0, 256, (n_block, kind.type_size), dtype=np.uint8)
    _SCALES.get(kind.name, _half_scales)(rng, kind, blocks)
    return blocks.reshape(*t.shape[:-1], -1)


def _halves(rng: np.random.Generator, base: float, n: int) -> npt.NDArray[np.uint8]:
    """n half floats around `base`, as bytes (n, 2)."""
    return (base * rng.uniform(0.5, 1.5, n)).astype("<f2").view(np.uint8).reshape(n, 2)


def _half_scales(rng: np.random.Generator, kind: QuantType, blocks: Array) -> None:
    for offset, scale in BLOCK_SCALES[kind.name]:
        base = float(np.frombuffer(scale, "<f2")[0])
        blocks[:, offset : offset + 2] = _halves(rng, base, len(blocks))


def _iq1_m_scales(rng: np.random.Generator, kind: QuantType, blocks: Array) -> None:
    # The half float is cut into four: the high nibbles of the last four 16-bit words.
    bits = _halves(rng, 0.008, len(blocks)).view("<u2")[:, 0]
    for i in range(4):
        high = 49 + 2 * i
        nibble = (bits >> (4 * i) & 15).astype(np.uint8)
        blocks[:, high] = blocks[:, high] & 15 | nibble << 4


def _nvfp4_scales(rng: np.random.Generator, kind: QuantType, blocks: Array) -> None:
    # Four E4M3 scales, unsigned, between 1/64 and 1/16.
    blocks[:, :4] = rng.integers(0x08, 0x18, (len(blocks), 4))


_SCALES: Mapping[str, Callable[[np.random.Generator, QuantType, Array], None]] = {
    "IQ1_M": _iq1_m_scales,
    "NVFP4": _nvfp4_scales,
}
