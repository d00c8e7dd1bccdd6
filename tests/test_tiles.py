"""The order of activations for wgmma."""

from __future__ import annotations

import numpy as np

from gguf_run.tiles import COLUMNS, column, from_tiles, to_tiles

ROWS = np.arange(11 * 384, dtype=np.int32).reshape(11, 384)


def test_tiles_hold_each_number_once_and_are_undone() -> None:
    tiles = to_tiles(ROWS)
    assert tiles.shape == (384 // COLUMNS, 11, COLUMNS)
    assert np.array_equal(from_tiles(tiles.reshape(-1), 384), ROWS)


def test_a_block_has_a_run_of_each_row_with_its_pieces_exchanged() -> None:
    tiles = to_tiles(ROWS)
    for block, row, place in ((0, 0, 0), (2, 3, 17), (5, 10, 63)):
        exchanged = (place // 8 ^ row % 8) * 8 + place % 8
        source = block // 2 * 128 + column(block % 2 * COLUMNS + place)
        assert tiles[block, row, exchanged] == ROWS[row, source]


def test_each_quarter_of_128_columns_gives_neighbouring_pairs_two_apart() -> None:
    """Step s of a product takes columns i, i + 2 and i + 1, i + 3 of each chunk of 32."""
    assert [column(i) for i in range(8)] == [0, 2, 32, 34, 64, 66, 96, 98]
    assert [column(i) for i in range(8, 12)] == [1, 3, 33, 35]
    assert sorted(column(i) for i in range(128)) == list(range(128))
