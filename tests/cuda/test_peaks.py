"""What a device gives at most: the kernels that measure it read all and multiply all."""

from __future__ import annotations

from functools import reduce

import numpy as np
from emulated import emulated

from gguf_run.cuda.peaks import (
    MMA_BLOCK,
    N_CHAIN,
    PEAKS,
    READ_BLOCK,
    Reader,
    launch_products,
)


def test_a_reader_reads_every_byte() -> None:
    device = emulated(n_sm=1)
    reader = Reader(device, 1)
    values = np.random.default_rng(1).integers(0, 2**32, reader.n_bytes // 4, np.uint32)
    device.upload(reader._source, values)
    reader.launch()
    sums = device.download(reader.sums, np.uint32, (reader.sums.n_bytes // 4,))
    assert reduce(np.bitwise_xor, sums) == reduce(np.bitwise_xor, values)
    assert reader.n_bytes % (64 * READ_BLOCK) == 0


def test_products_are_as_many_as_are_counted() -> None:
    device = emulated(n_sm=1)
    out = device.alloc(4 * MMA_BLOCK)
    n_round = 3
    launch_products(device, device.module(PEAKS)["mma_peak"], 1, out, n_round)
    sums = device.download(out, np.float32, (MMA_BLOCK,))
    # Each of a thread's four numbers of a chain grows by 16 products of 1 by 1 a round.
    assert np.array_equal(sums, np.full(MMA_BLOCK, N_CHAIN * 4 * 16 * n_round, np.float32))
