"""Random weights, as every tensor type stores them: what speed is measured on without a file.

Of each type one pool of random blocks is drawn, a few MiB; a tensor is the pool, again and again.
Weights spread by 0.02 to 0.06, so that sums stay finite in half precision, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from gguf_run.loader_bytes import Read
from gguf_run.quants import QuantType, quant_type

Bytes = npt.NDArray[np.uint8]

POOL_BYTES = 4 << 20
SPREAD = 0.02
SEED = 1

HALF_SCALES: Mapping[str, tuple[tuple[int, float], ...]] = MappingProxyType(
    {
        "Q4_0": ((0, 0.004),),
        "Q4_1": ((0, 0.004), (2, -0.03)),
        "Q5_0": ((0, 0.002),),
        "Q5_1": ((0, 0.002), (2, -0.03)),
        "Q8_0": ((0, 0.0003),),
        "Q2_K": ((80, 0.002), (82, 0.003)),
        "Q3_K": ((108, 0.0007),),
        "Q4_K": ((0, 0.0001), (2, 0.0008)),
        "Q5_K": ((0, 0.00006), (2, 0.0008)),
        "Q6_K": ((208, 0.00002),),
        "IQ1_S": ((0, 0.004),),
        "IQ2_XXS": ((0, 0.0005),),
        "IQ2_XS": ((0, 0.0005),),
        "IQ2_S": ((0, 0.0005),),
        "IQ3_XXS": ((0, 0.0002),),
        "IQ3_S": ((0, 0.00025),),
        "IQ4_NL": ((0, 0.0005),),
        "IQ4_XS": ((0, 0.000025),),
        "TQ1_0": ((52, 0.03),),
        "TQ2_0": ((64, 0.03),),
    }
)
"""Half floats of a block: where they stand, and what they are to be about."""


def random_reader(dtype: QuantType, is_vector: bool, seed: int) -> Read:
    """Reads the bytes of a random tensor. Vectors (F32) hold numbers near 1, as norms have them."""
    pool = _vector_pool() if is_vector else _pool(dtype.name)
    start = seed % (len(pool) // dtype.type_size) * dtype.type_size

    def read(offset: int, view: memoryview) -> None:
        at = (start + offset) % len(pool)
        while view:
            part = pool[at : at + len(view)]
            view[: len(part)] = part.data
            view, at = view[len(part) :], 0

    return read


@cache
def _vector_pool() -> Bytes:
    values = np.random.default_rng(SEED).normal(1.0, 0.1, POOL_BYTES // 64)
    return values.astype(np.float32).view(np.uint8)


@cache
def _pool(name: str) -> Bytes:
    """Random blocks of a type, an odd number of them, so that rows differ. Read-only."""
    dtype, rng = quant_type(name), np.random.default_rng(SEED)
    n_block = POOL_BYTES // dtype.type_size | 1
    if dtype.block_size == 1:
        values = SPREAD * rng.standard_normal(n_block, np.float32)
        pool = _FLOATS[name](values).view(np.uint8)
    else:
        blocks = rng.integers(0, 256, (n_block, dtype.type_size), np.uint8)
        _SCALES.get(name, _half_scales)(rng, name, blocks)
        pool = blocks.reshape(-1)
    pool.flags.writeable = False
    return pool


def can_be_random(dtype: QuantType) -> bool:
    """Whether there are random weights of a type."""
    return any(dtype.name in known for known in (_FLOATS, _SCALES, HALF_SCALES))


def _bfloat16(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    return (values.view(np.uint32) >> 16).astype(np.uint16)


_FLOATS: Mapping[str, Callable[[npt.NDArray[np.float32]], npt.NDArray[np.generic]]] = (
    MappingProxyType(
        {
            "F32": lambda values: values,
            "F16": lambda values: values.astype(np.float16),
            "BF16": _bfloat16,
        }
    )
)


def _halves(rng: np.random.Generator, about: float, n: int) -> Bytes:
    """n half floats around a number, as bytes (n, 2)."""
    return (about * rng.uniform(0.5, 1.5, n)).astype("<f2").view(np.uint8).reshape(n, 2)


def _half_scales(rng: np.random.Generator, name: str, blocks: Bytes) -> None:
    for offset, about in HALF_SCALES[name]:
        blocks[:, offset : offset + 2] = _halves(rng, about, len(blocks))


def _iq1_m(rng: np.random.Generator, name: str, blocks: Bytes) -> None:
    # The half float is cut into four: the high nibbles of the last four 16-bit words.
    bits = _halves(rng, 0.004, len(blocks)).view("<u2")[:, 0]
    for i in range(4):
        high = 49 + 2 * i
        nibble = (bits >> (4 * i) & 15).astype(np.uint8)
        blocks[:, high] = blocks[:, high] & 15 | nibble << 4


def _mxfp4(rng: np.random.Generator, name: str, blocks: Bytes) -> None:
    # One power of two, its exponent biased by 127: 2^-8 to 2^-5, times codes of up to 6.
    blocks[:, 0] = rng.integers(119, 123, len(blocks))


def _nvfp4(rng: np.random.Generator, name: str, blocks: Bytes) -> None:
    # Four E4M3 scales, unsigned, about 1/64.
    blocks[:, :4] = rng.integers(0x04, 0x10, (len(blocks), 4))


_SCALES: Mapping[str, Callable[[np.random.Generator, str, Bytes], None]] = MappingProxyType(
    {"IQ1_M": _iq1_m, "MXFP4": _mxfp4, "NVFP4": _nvfp4}
)
