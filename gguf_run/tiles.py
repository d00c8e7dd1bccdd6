"""The order of F16_TILES: activations as wgmma reads them, of sm_90 (`Graph.cast`).

Block b of 64 columns has a run of 128 bytes of each row, so that any rows are one range of memory:
`[block][row][64 numbers]`. The columns of each 128 are shuffled, so that quantised weights, decoded
16 bytes at a time, meet their partners (kernels/mul_mat_wgmma.cuh); of the eight pieces of 16 bytes
in a run, piece p stands at p ^ (row % 8), so that eight rows' pieces lie in different banks.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

COLUMNS = 64
"""Of a block."""


def column(place: int) -> int:
    """Which of 128 columns stands at `place` of two blocks' runs, pieces not yet exchanged."""
    piece, i = place // 8, place % 8
    step, half = piece // 2, piece % 2
    return 32 * (i // 2) + 16 * (step % 2) + 4 * (step // 2) + 2 * (i % 2) + half


_ORDER = np.array([column(place) for place in range(2 * COLUMNS)])


def to_tiles(rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """rows (n_row, n_col), n_col a multiple of 128 -> (n_col / 64, n_row, 64)."""
    n_row, n_col = rows.shape
    shuffled = rows.reshape(n_row, -1, 2 * COLUMNS)[..., _ORDER].reshape(n_row, -1, 8, 8)
    return _exchanged(shuffled).reshape(n_row, n_col // COLUMNS, COLUMNS).swapaxes(0, 1)


def from_tiles(tiles: npt.NDArray[Any], n_col: int) -> npt.NDArray[Any]:
    """What `to_tiles` was given, from its numbers in their order."""
    runs = tiles.reshape(n_col // COLUMNS, -1, COLUMNS).swapaxes(0, 1)
    shuffled = _exchanged(runs.reshape(len(runs), -1, 8, 8))
    rows = np.empty((len(runs), n_col // (2 * COLUMNS), 2 * COLUMNS), tiles.dtype)
    rows[..., _ORDER] = shuffled.reshape(rows.shape)
    return rows.reshape(-1, n_col)


def _exchanged(pieces: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """(n_row, n_block, 8, 8) with piece p at p ^ (row % 8), and back."""
    places = np.arange(8) ^ (np.arange(len(pieces)) % 8)[:, None]
    return np.take_along_axis(pieces, places[:, None, :, None], axis=2)
