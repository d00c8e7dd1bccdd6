"""The instances of the tensor-core attention kernel, and what fits which attention and device."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from gguf_run.cuda.capabilities import with_shared
from gguf_run.cuda.device import Device
from gguf_run.cuda.lowering import kernel_module
from gguf_run.cuda.source import KernelSource
from gguf_run.graph import F16, Tensor
from gguf_run.quants import quant_type

DECODED_TYPES = ("F16", "Q8_0", "Q4_0")
"""Types that the kernel can turn into f16; f32 would lose too much."""


STATIC_SHARED = 1024
"""Bytes of shared memory that a block needs besides its tiles, at most."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The template parameters of `Shape` in kernels/flash_attn_mma.cu, and the bytes they imply."""

    d_k: int
    d_v: int
    row_warps: int
    key_warps: int
    dim_warps: int
    keys: int

    def __str__(self) -> str:
        warps = f"{self.row_warps}, {self.key_warps}, {self.dim_warps}"
        return f"Shape<{self.d_k}, {self.d_v}, {warps}, {self.keys}>"

    @property
    def rows(self) -> int:
        return 16 * self.row_warps

    @property
    def threads(self) -> int:
        return 32 * self.row_warps * self.key_warps * self.dim_warps

    def shared(self, n_stage: int, raw_row_bytes: int) -> int:
        """Bytes of shared memory; `raw_row_bytes` of a key and its value where they are decoded."""
        pad = 8
        tile = self.keys * 2 * (self.d_k + self.d_v + 2 * pad)
        tiles = n_stage * self.keys * raw_row_bytes + tile if raw_row_bytes else n_stage * tile
        query = 2 * self.rows * self.d_k * (2 if self.d_k > 128 else 1)
        merged = 4 * self.key_warps * 16 * self.d_v if self.key_warps > 1 else 0
        return max(tiles + query, merged)


@dataclass(frozen=True, slots=True)
class Instance:
    """One compiled kernel."""

    shape: Shape
    decode: bool
    module: KernelSource = field(init=False)

    def __post_init__(self) -> None:
        s = self.shape
        raw = sum(quant_type("Q4_0").row_bytes(n) for n in (s.d_k, s.d_v)) if self.decode else 0
        capabilities = with_shared(s.shared(1, raw) + STATIC_SHARED)
        source = kernel_module("flash_attn_mma.cu", [self.kernel], capabilities)
        object.__setattr__(self, "module", source)

    @property
    def kernel(self) -> str:
        return f"flash_attn_ext_mma<{str(self.decode).lower()}, {self.shape}>"


_EQUAL_SIZES = (64, 80, 96, 112, 128)
SHAPES = (
    *(Shape(d, d, *warps, 64) for d in _EQUAL_SIZES for warps in ((4, 1, 1), (1, 4, 1))),
    *(Shape(192, 128, *warps, 64) for warps in ((4, 1, 1), (1, 4, 1))),
    *(Shape(256, 256, *warps, 32) for warps in ((4, 1, 1), (1, 2, 1))),
    Shape(576, 512, 1, 1, 4, 16),
)
"""Head sizes of the models that there are; for each, many rows a block and few."""

INSTANCES = tuple(
    Instance(shape, decode)
    for shape in SHAPES
    for decode in (False, True)
    if not decode or (shape.d_k % 32 == shape.d_v % 32 == 0 and shape.d_k < 576)
)


@dataclass(frozen=True, slots=True)
class Fit:
    """An instance that can run an attention: tiles in flight, bytes of shared memory, and how many
    blocks a multiprocessor has room for."""

    instance: Instance
    n_stage: int
    shared: int
    n_block: int


def fits(device: Device, t: Tensor, n_row: int) -> Iterator[Fit]:
    """What can run the attention `t` on `device`, the best for `n_row` rows a KV head first."""
    q, k, v = t.srcs[:3]
    decode = not k.dtype is v.dtype is F16
    if not (_takes_query(q) and (_takes_decoded(k, v) if decode else _takes_f16(k, v))):
        return
    raw = k.dtype.row_bytes(k.shape[3]) + v.dtype.row_bytes(v.shape[3]) if decode else 0
    found = [i for i in INSTANCES if i.decode == decode and _sizes(i) == (k.shape[3], v.shape[3])]
    for instance in sorted(found, key=lambda i: (i.shape.rows > 16) != (n_row > 16)):
        if k.shape[2] % instance.shape.keys:
            continue
        one, two = (_fit(device, instance, n_stage, raw) for n_stage in (1, 2))
        # Two blocks hide each other's latency, which is worth more than a second tile in flight.
        if two.n_block and two.n_block >= min(2, one.n_block):
            yield two
        elif one.n_block:
            yield one


def _fit(device: Device, instance: Instance, n_stage: int, raw: int) -> Fit:
    shared = instance.shape.shared(n_stage, raw)
    return Fit(instance, n_stage, shared, device.max_shared // (shared + STATIC_SHARED))


def _sizes(i: Instance) -> tuple[int, int]:
    return i.shape.d_k, i.shape.d_v


def _takes_query(q: Tensor) -> bool:
    """Pairs of numbers are loaded at once."""
    return not any(n % 2 for n in (q.offset, *q.strides[:2]))


def _takes_f16(*caches: Tensor) -> bool:
    """Eight numbers are loaded at once."""
    return not any(n % 8 for cache in caches for n in (cache.offset, cache.strides[2]))


def _takes_decoded(*caches: Tensor) -> bool:
    """Whole tiles are copied, so rows must lie without gaps."""
    return all(c.dtype.name in DECODED_TYPES and c.offset == 0 and c.is_contiguous for c in caches)
