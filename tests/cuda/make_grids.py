"""Writes grids.cuh, the codebooks of the i-quants, from the tables of the gguf package.

python gguf_run/cuda/kernels/quants/make_grids.py
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import gguf.quants
import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.int64]
TARGET = Path(__file__).parents[2] / "gguf_run" / "cuda" / "kernels" / "quants" / "grids.cuh"
HEAD = """\
// grids.cuh: the codebooks of the i-quants. Written by tests/cuda/make_grids.py; do not edit.
// IQ1 and IQ2: eight elements in 16 bits, two each, lowest first; 0 1 2 stand for -1 0 1 (IQ1) or
// 8 25 43 (IQ2).
// IQ3: four elements, a byte each.
#pragma once
"""


def text() -> str:
    """The header."""
    q = gguf.quants
    arrays = (
        _array("uint16_t", "IQ1_GRID", _coded(q.IQ1_S), 4),
        _array("uint16_t", "IQ2_XXS_GRID", _coded(q.IQ2_XXS), 4),
        _array("uint16_t", "IQ2_XS_GRID", _coded(q.IQ2_XS), 4),
        _array("uint16_t", "IQ2_S_GRID", _coded(q.IQ2_S), 4),
        _array("uint32_t", "IQ3_XXS_GRID", _bytes(q.IQ3_XXS), 8),
        _array("uint32_t", "IQ3_S_GRID", _bytes(q.IQ3_S), 8),
    )
    return HEAD + "".join("\n".join(["", *lines, "};", ""]) for lines in arrays)


def _grid(quant: Any) -> Numbers:
    quant.init_grid()
    grid: Numbers = quant.grid.reshape(quant.grid_shape).astype(np.int64)
    return grid


def _coded(quant: Any) -> Numbers:
    """Rows of eight as 2-bit indices into the grid's few values."""
    codes = np.searchsorted(np.array(quant.grid_map), _grid(quant))
    packed: Numbers = (codes << 2 * np.arange(8)).sum(axis=1)
    return packed


def _bytes(quant: Any) -> Numbers:
    packed: Numbers = (_grid(quant) << 8 * np.arange(4)).sum(axis=1)
    return packed


def _array(ctype: str, name: str, values: Iterable[int], n_digits: int) -> Iterator[str]:
    numbers = [f"0x{value:0{n_digits}x}," for value in values]
    per_line = 119 // (len(numbers[0]) + 1)
    yield f"static const __device__ {ctype} {name}[{len(numbers)}] = {{"
    for i in range(0, len(numbers), per_line):
        yield f"  {' '.join(numbers[i : i + per_line])}"


if __name__ == "__main__":
    TARGET.write_text(text())
