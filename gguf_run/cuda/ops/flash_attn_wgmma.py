"""The attention kernel for many tokens on Hopper GPUs: its instances, and what they take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from gguf_run.cuda.capabilities import full_arch
from gguf_run.cuda.device import Device
from gguf_run.cuda.lowering import Lowering, kernel_module
from gguf_run.cuda.source import KernelSource
from gguf_run.cuda.tensor_map import TensorMap
from gguf_run.graph import F16, AttentionParams, Tensor

CAPABILITY = 90
"""Its instructions (wgmma, setmaxnreg) are those of one architecture; the emulator has none."""
PAGE_PART = 64
MOST_SHARED = 200 << 10
"""Bytes of shared memory with which a third tile of values is kept."""
LEAST_ROWS = 128
"""Packed rows a KV head; with fewer, tiles of half the height waste less."""


@dataclass(frozen=True, slots=True)
class Wide:
    """The template parameters of `Wide` in kernels/flash_attn_wgmma.cuh."""

    rows: ClassVar[int] = 128
    threads: ClassVar[int] = 384
    d_k: int
    d_v: int
    keys: int

    @property
    def module(self) -> KernelSource:
        """Where it is declared."""
        return MODULES[self]

    @property
    def kernel(self) -> str:
        """Its name."""
        return f"flash_attn_ext_wgmma<Wide<{self.d_k}, {self.d_v}, {self.keys}>>"

    @property
    def shared(self) -> int:
        """Bytes of shared memory: queries, and keys and values in parts of 64 columns."""
        parts_k, parts_v = -(-self.d_k // 64), -(-self.d_v // 64)
        queries, keys, values = self.rows * parts_k, 2 * self.keys * parts_k, self.keys * parts_v
        wanted = 128 * (queries + keys + 3 * values)
        return wanted if wanted <= MOST_SHARED else wanted - 128 * values


WIDE = (
    Wide(64, 64, 128),
    Wide(96, 96, 128),
    Wide(128, 128, 128),
    Wide(192, 128, 128),
    Wide(256, 256, 64),
)
"""Head sizes of the models that there are."""

MODULES = {
    w: kernel_module("flash_attn_wgmma.cu", [w.kernel], frozenset((CAPABILITY,))) for w in WIDE
}


def wide_for(device: Device, t: Tensor, n_packed: int) -> Wide | None:
    """The instance that runs the attention `t` of `n_packed` rows a KV head on `device`."""
    q, k, v = t.srcs[:3]
    params = t.params
    assert isinstance(params, AttentionParams)
    if device.arch != full_arch(CAPABILITY) or n_packed < LEAST_ROWS or params.max_bias > 0:
        return None
    if not k.dtype is v.dtype is F16 or k.shape[2] != PAGE_PART or not _is_aligned(q, k, v):
        return None
    return next((w for w in WIDE if (w.d_k, w.d_v) == (k.shape[3], v.shape[3])), None)


def tensor_map(low: Lowering, cache: Tensor) -> TensorMap:
    """The rows of a cache, which are copied by parts of pages."""
    n_page, n_head, page, d = cache.shape
    row_bytes = cache.dtype.row_bytes(cache.strides[2])
    return TensorMap(low.at(cache), n_page * n_head * page, d, row_bytes, PAGE_PART)


def _is_aligned(q: Tensor, k: Tensor, v: Tensor) -> bool:
    """16 bytes are loaded at once."""
    queries = (q.offset, *q.strides[:2])
    caches = (n for c in (k, v) for n in (c.offset, c.strides[2]))
    return not any(n % 4 for n in queries) and not any(n % 8 for n in caches)
