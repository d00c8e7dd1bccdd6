"""Compute capabilities, times ten: those there are, and the shared memory of a block on each."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

LEAST = 75
"""The first with the instructions that all kernels use (ldmatrix, mma.sync)."""

EMBEDDED = frozenset((87, 88, 101, 110))
"""Of systems on a chip (Orin, Thor): machine code is not shared between them and other GPUs."""

SHARED_BYTES: Mapping[int, int] = MappingProxyType(
    {
        **dict.fromkeys((75,), 64 << 10),
        **dict.fromkeys((86, 89, 120, 121), 99 << 10),
        **dict.fromkeys((80, 87), 163 << 10),
        **dict.fromkeys((90, 100, 101, 103, 110), 227 << 10),
    }
)
"""Bytes of shared memory that a block may ask for. Source: NVIDIA, "CUDA C++ Programming Guide",
technical specifications per compute capability."""


ALL = frozenset(SHARED_BYTES)


def full_arch(capability: int) -> str:
    """The architecture of a capability with all its features, as NVRTC names it: "sm_90a"."""
    return f"sm_{capability}" + ("a" if capability >= 90 else "")


def since(capability: int) -> frozenset[int]:
    """A capability and all later ones."""
    return frozenset(c for c in ALL if c >= capability)


def before(capability: int) -> frozenset[int]:
    """All earlier ones."""
    return ALL - since(capability)


def with_shared(n_bytes: int) -> frozenset[int]:
    """Those where a block may ask for `n_bytes` of shared memory."""
    return frozenset(c for c, most in SHARED_BYTES.items() if n_bytes <= most)
