"""How weights lie in device memory: as in the file, or in planes.

A quantised row becomes [plane 0 of all its blocks | plane 1 of all | ...], each plane padded to 16
bytes, so that its quants can be loaded 16 bytes at a time and a row is one aligned range. Which
bytes of a block make up which plane is declared in `kernels/quants/*.cuh`, once for kernels and
Python.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from gguf_run.errors import ModelError
from gguf_run.quants import QuantType

ALIGNMENT = 16
FLOAT_TYPES: Mapping[str, str] = MappingProxyType(
    {"F32": "float", "F16": "half", "BF16": "nv_bfloat16"}
)
"""Types that lie as in the file, and what kernels call their numbers."""


@dataclass(frozen=True, slots=True)
class Plane:
    """Bytes `start : start + size` of each block."""

    start: int
    size: int

    def row_bytes(self, n_block: int) -> int:
        return -(-n_block * self.size // ALIGNMENT) * ALIGNMENT


@dataclass(frozen=True, slots=True)
class Layout:
    """A type's blocks in device memory; `family` is the header that declares it.

    Without planes a block's bytes stay together. `is_fine`: rounding activations to int8 would be
    the larger error of products.
    """

    family: str
    block_size: int
    type_size: int
    planes: tuple[Plane, ...]
    is_fine: bool

    @property
    def is_native(self) -> bool:
        """Whether a row in memory is the row in the file."""
        return self.planes == (Plane(0, self.type_size),) and self.type_size % ALIGNMENT == 0

    def row_bytes(self, n_elements: int) -> int:
        """Bytes of a row in memory, a multiple of 16."""
        n_block = n_elements // self.block_size
        return sum(plane.row_bytes(n_block) for plane in self.planes)


_PLANES = re.compile(r"^struct (\w+) : Planes<(\d+), (\d+)((?:, At<\d+, \d+>)+)>(, Fine<)?", re.M)
_AT = re.compile(r"At<(\d+), (\d+)>")


def _layouts(folder: Path) -> dict[str, Layout]:
    """Every type that the headers of `folder` declare, by ggml's name."""
    found = {}
    for path in sorted(folder.glob("*.cuh")):
        for name, block, size, places, fine in _PLANES.findall(path.read_text("utf-8")):
            planes = tuple(Plane(int(a), int(b)) for a, b in _AT.findall(places))
            found[name] = Layout(path.stem, int(block), int(size), planes, bool(fine))
    return found


LAYOUTS: Mapping[str, Layout] = MappingProxyType(
    _layouts(Path(__file__).parent / "kernels" / "quants")
)
"""Layouts of the quantised types that products take."""


def is_float(dtype: QuantType) -> bool:
    """Whether products take `dtype` as numbers, without unpacking."""
    return dtype.name in FLOAT_TYPES


def layout_of(dtype: QuantType) -> Layout:
    """The layout of a quantised type; ModelError where no kernel unpacks it."""
    if dtype.name not in LAYOUTS:
        known = ", ".join([*FLOAT_TYPES, *LAYOUTS])
        raise ModelError(
            f"tensor type {dtype.name}: expected one that the GPU kernels unpack ({known}); "
            "convert the model to one of them, or run it with --device cpu"
        )
    return LAYOUTS[dtype.name]
