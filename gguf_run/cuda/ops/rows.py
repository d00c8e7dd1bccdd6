"""How wrappers describe the rows of their tensors to kernels (kernels/rows.cuh)."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from gguf_run.cuda.device import MAX_GRID_ROWS
from gguf_run.cuda.lowering import Lowering
from gguf_run.errors import DeviceError
from gguf_run.graph import F32, Tensor

BLOCK = 256


@dataclass(frozen=True, slots=True)
class Rows:
    """Tensors of one shape as n_rows rows of n_col elements.

    Row r of tensor i begins at element `r // n_inner * outer + r % n_inner * inner`, its strides
    being `strides[i] = (outer, inner)`.
    """

    n_rows: int
    n_col: int
    n_inner: int
    strides: tuple[tuple[int, int], ...]

    def structs(self) -> list[bytes]:
        """The strides as the kernels' `Strides`."""
        return [struct.pack("<2q", *pair) for pair in self.strides]

    def flat(self) -> Rows:
        """One row of all elements, where no tensor has gaps; else the same rows."""
        n = self.n_rows * self.n_col
        dense = self.n_inner == 1 and all(outer == self.n_col for outer, _ in self.strides)
        if not dense or n >= 1 << 31:
            return self
        return Rows(1, n, 1, ((0, 0),) * len(self.strides))


def rows_of(op: str, *tensors: Tensor) -> Rows:
    """The rows of `tensors`, all of the first one's shape or one row that every row of it meets.

    Raises DeviceError where they are not F32, or where some tensor has more gaps than two strides
    can tell (a slice of a slice of a reshaped slice).
    """
    require_f32(op, *tensors)
    first = tensors[0]
    lead = len(first.shape) - 1
    steps = [t.strides[:-1] if t.shape == first.shape else (0,) * lead for t in tensors]
    dims: list[tuple[int, tuple[int, ...]]] = []
    for size, *strides in zip(first.shape[:-1], *steps, strict=True):
        if size == 1:
            continue
        if dims and all(s == size * t for s, t in zip(dims[-1][1], strides, strict=True)):
            size *= dims.pop()[0]
        dims.append((size, tuple(strides)))
    if len(dims) > 2:
        raise DeviceError(f"{op}: expected rows at one or two strides, found {first.strides}")
    n_inner, inner = dims.pop() if len(dims) == 2 else (1, (0,) * len(tensors))
    outer = dims[0][1] if dims else (0,) * len(tensors)
    n_rows = prod(first.shape[:-1])
    return Rows(n_rows, first.shape[-1], n_inner, tuple(zip(outer, inner, strict=True)))


def require_f32(op: str, *tensors: Tensor) -> None:
    """DeviceError where a tensor is not F32."""
    for t in tensors:
        if t.dtype is not F32:
            raise DeviceError(f"{op}: expected F32, found {t}")


def width(low: Lowering, rows: Rows, tensors: Sequence[Tensor]) -> int:
    """4 where rows and addresses allow 16-byte accesses to all of `tensors`, else 1."""
    counts = [rows.n_col, *(s for pair in rows.strides for s in pair)]
    aligned = all(low.at(t).ptr % 16 == 0 for t in tensors)
    return 4 if aligned and not any(n % 4 for n in counts) else 1


def warps_per_row(n_col: int, width: int) -> int:
    """1, 8 or 32: few for short rows, whose reduction then needs no barrier."""
    n = n_col // width
    return 1 if n <= 64 else 8 if n <= 2048 else 32


WARPS = (1, 8, 32)
WIDTHS = (1, 4)


def row_blocks(n_rows: int, n_warps: int) -> tuple[int, tuple[int, int]]:
    """Grid and block of kernels that give a row `n_warps` warps; rows of one warp share a block."""
    per_block = min(n_rows, BLOCK // 32) if n_warps == 1 else 1
    return -(-n_rows // per_block), (32 * n_warps, per_block)


def element_blocks(rows: Rows, width: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Grid and block of kernels/elementwise.cuh."""
    n = rows.n_col // width
    columns = min(BLOCK, 1 << (n - 1).bit_length())
    per_block = BLOCK // columns
    n_block = min(MAX_GRID_ROWS, -(-rows.n_rows // per_block))
    return (-(-n // columns), n_block), (columns, per_block)
