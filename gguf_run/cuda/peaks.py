"""What a device gives at most, measured: bytes read a second, and products of its tensor cores.

Speeds are compared with these and not with a vendor's figures, which no kernel reaches.
"""

from __future__ import annotations

from collections.abc import Callable

from gguf_run.costs import Peaks
from gguf_run.cuda.device import Buffer, Device, Kernel
from gguf_run.cuda.lowering import kernel_module

PEAKS = kernel_module("peaks.cu", ["read_peak", "mma_peak"])

READ_BLOCK, MMA_BLOCK = 512, 256
READ_BLOCKS_PER_SM, MMA_BLOCKS_PER_SM = 2, 2
N_CHAIN = 8
PRODUCT_FLOPS = 2 * 16 * 8 * 16
READ_BYTES = 2 << 30
"""Far more than any cache holds."""
N_ROUND = 4096
REPEATS = 12
"""The best counts: the first ones find a GPU that has not reached its clock yet."""


class Reader:
    """Reads a buffer of about `n_bytes` through the whole device."""

    def __init__(self, device: Device, n_bytes: int) -> None:
        self._device = device
        self._grid = READ_BLOCKS_PER_SM * device.n_sm
        n_thread = self._grid * READ_BLOCK
        self.n_bytes = max(1, n_bytes // (64 * n_thread)) * 64 * n_thread
        self._source, self.sums = device.alloc(self.n_bytes), device.alloc(4 * n_thread)
        self._kernel = device.module(PEAKS)["read_peak"]
        device.fill(self._source, 0x5A)

    def launch(self) -> None:
        """Put one reading of all into the main stream."""
        arguments = [self._source, self.sums, self.n_bytes // 16]
        self._device.launch(self._kernel, self._grid, READ_BLOCK, arguments)


def measure_peaks(device: Device) -> Peaks:
    """Measure a GPU; takes some tenths of a second, and memory of which half may be taken."""
    reader = Reader(device, min(READ_BYTES, device.memory_free // 2))
    read = reader.n_bytes / _best_seconds(device, reader.launch)
    kernel = device.module(PEAKS)["mma_peak"]
    grid = MMA_BLOCKS_PER_SM * device.n_sm
    out = device.alloc(4 * grid * MMA_BLOCK)
    n_flop = grid * MMA_BLOCK // 32 * N_ROUND * N_CHAIN * PRODUCT_FLOPS
    seconds = _best_seconds(device, lambda: launch_products(device, kernel, grid, out, N_ROUND))
    return Peaks(read, n_flop / seconds)


def launch_products(device: Device, kernel: Kernel, grid: int, out: Buffer, n_round: int) -> None:
    """Put `n_round` rounds of products in every warp into the main stream."""
    device.launch(kernel, grid, MMA_BLOCK, [out, n_round])


def _best_seconds(device: Device, launch: Callable[[], None]) -> float:
    """The shortest time of several launches."""
    times = []
    for _ in range(REPEATS):
        before = device.record()
        launch()
        after = device.record()
        after.synchronize()
        times.append(after.elapsed_ms(before) / 1e3)
    return min(times)
