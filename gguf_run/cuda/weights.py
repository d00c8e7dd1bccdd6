"""The weights on the device: one copy of each, in the layout that its kernels read.

Matrices keep their numbers: a kernel gathers quantised ones into planes (`layout.py`), floats
lie as in the file. Vectors (norms, biases) are few and meet f32 numbers: they become f32.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager
from math import prod

import numpy as np

from gguf_run.cuda.activations import activations_as_products_take_them
from gguf_run.cuda.device import MAX_GRID_ROWS, Buffer, Device, Kernel, Progress, Stream
from gguf_run.cuda.layout import LAYOUTS, Layout, is_float, layout_of
from gguf_run.cuda.lowering import kernel_module
from gguf_run.cuda.upload import Transfer, Uploader
from gguf_run.graph import Tensor
from gguf_run.loader import GGUFFile

__all__ = ["DeviceWeights", "activations_as_products_take_them"]

STAGING_BYTES = 32 << 20
"""Device memory through which rows pass on their way into planes; more where one row is longer."""
SWITCH_SECONDS = 5e-5
"""Between turns of Python's threads while weights are loaded (measured on an H200)."""

REPACK = kernel_module("repack.cu", ["repack_plane"])


class DeviceWeights:
    """The matrices and vectors of `file` on `device`, each loaded once, whoever uses it."""

    def __init__(self, file: GGUFFile, device: Device) -> None:
        self._file = file
        self._device = device
        self._buffers: dict[str, Buffer] = {}
        self._repack_plane: Kernel | None = None

    def n_bytes(self, leaves: Iterable[Tensor]) -> int:
        """Device memory that loading `leaves` takes, those on the device left out."""
        missing = self._missing(leaves)
        return sum(map(resident_bytes, missing)) + self._staging_bytes(missing)

    def buffer(self, leaf: Tensor) -> Buffer:
        """The memory of a weight of the graph, loaded now if it isn't there yet."""
        if leaf.name not in self._buffers:
            self.load([leaf])
        return self._buffers[leaf.name]

    def load(self, leaves: Iterable[Tensor], progress: Progress | None = None) -> None:
        """Bring `leaves` to the device and wait for them; as `loading`."""
        with self.loading(leaves, progress):
            pass

    @contextmanager
    def loading(self, leaves: Iterable[Tensor], progress: Progress | None = None) -> Iterator[None]:
        """Bring `leaves` to the device while the block runs, and wait for them at its end.

        Their memory is there from the beginning. `progress(what, done, total)` in bytes, from
        another thread. Where the block or the loading fails, those that were missing are gone.

        Raises ModelError for a type that no kernel takes, GGUFError where the file can't be read,
        DeviceError where memory runs out.
        """
        missing = self._missing(leaves)
        if not missing:
            yield
            return
        for leaf in missing:
            _check(leaf)
        stopped = threading.Event()
        with _frequent_switches(), ThreadPoolExecutor(1, "gguf-run-loader") as pool:
            try:
                memory = self._device.alloc_many([resident_bytes(leaf) for leaf in missing])
                self._buffers |= zip((leaf.name for leaf in missing), memory, strict=True)
                filled = pool.submit(self._fill, missing, _Meter(missing, progress, stopped))
                yield
                filled.result()
            except BaseException:
                stopped.set()
                for leaf in missing:
                    self._buffers.pop(leaf.name, None)
                raise

    def _fill(self, leaves: Sequence[Tensor], arrived: Callable[[int], None]) -> None:
        for leaf in filter(is_vector, leaves):
            values = leaf.dtype.decode(self._file.data(leaf.name))
            self._device.upload(self._buffers[leaf.name], values.astype(np.float32, copy=False))
            arrived(leaf.n_bytes)
        matrices = [leaf for leaf in leaves if not is_vector(leaf)]
        if matrices:
            Uploader(self._device).upload(self._transfers(matrices), arrived)
            self._device.synchronize()

    def _missing(self, leaves: Iterable[Tensor]) -> list[Tensor]:
        wanted = {leaf.name: leaf for leaf in leaves if leaf.name not in self._buffers}
        return list(wanted.values())

    def _staging_bytes(self, leaves: Sequence[Tensor]) -> int:
        rows = [_row_bytes(leaf) for leaf in leaves if _planes(leaf) is not None]
        return max(STAGING_BYTES, *rows) if rows else 0

    def _transfers(self, leaves: Sequence[Tensor]) -> Iterator[Transfer]:
        """What to read and where to; rows for planes come through one staging buffer."""
        n_bytes = self._staging_bytes(leaves)
        staging = self._device.alloc(n_bytes) if n_bytes else None
        for leaf in leaves:
            read, target = self._file.reader(leaf.name), self._buffers[leaf.name]
            layout = _planes(leaf)
            if layout is None or staging is None:
                yield Transfer(read, 0, target)
                continue
            n_row, row_bytes = prod(leaf.shape[:-1]), _row_bytes(leaf)
            resident = layout.row_bytes(leaf.shape[-1])
            step = staging.n_bytes // row_bytes
            for row in range(0, n_row, step):
                count = min(step, n_row - row)
                part = staging.at(0, count * row_bytes)
                repack = self._repack(
                    part, target.at(row * resident, count * resident), count, leaf, layout
                )
                yield Transfer(read, row * row_bytes, part, repack)

    def _repack(
        self, source: Buffer, target: Buffer, n_row: int, leaf: Tensor, layout: Layout
    ) -> Callable[[Stream], None]:
        kernel = self._kernel()
        n_block = leaf.shape[-1] // layout.block_size
        row_bytes = layout.row_bytes(leaf.shape[-1])

        def launch(stream: Stream) -> None:
            offset = 0
            for plane in layout.planes:
                size = plane.row_bytes(n_block)
                self._device.launch(
                    kernel,
                    (-(-size // 4096), min(n_row, MAX_GRID_ROWS)),
                    256,
                    [
                        *(source, target, n_row, n_block, layout.type_size),
                        *(plane.start, plane.size, row_bytes, offset, size),
                    ],
                    stream=stream,
                )
                offset += size

        return launch

    def _kernel(self) -> Kernel:
        if self._repack_plane is None:
            self._repack_plane = self._device.module(REPACK)["repack_plane"]
        return self._repack_plane


@contextmanager
def _frequent_switches() -> Iterator[None]:
    """Let Python's threads take turns often: those that load need the lock for moments alone, and
    beside one that computes would wait 5 ms for it each time. The interval is the process's: where
    another model is being loaded as well, whoever has set it sets it back."""
    before = sys.getswitchinterval()
    if before <= SWITCH_SECONDS:
        yield
        return
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


class _Meter:
    """Counts the bytes that have arrived; ends the loading where nobody waits for it any more."""

    def __init__(
        self, leaves: Sequence[Tensor], progress: Progress | None, stopped: threading.Event
    ) -> None:
        self._done, self._total = 0, sum(leaf.n_bytes for leaf in leaves)
        self._progress = progress
        self._stopped = stopped

    def __call__(self, n: int) -> None:
        if self._stopped.is_set():
            raise CancelledError
        self._done += n
        if self._progress is not None:
            self._progress("weights", self._done, self._total)


def is_vector(leaf: Tensor) -> bool:
    """Whether a weight is resident as f32 whatever its type."""
    return len(leaf.shape) == 1


def resident_bytes(leaf: Tensor) -> int:
    """Bytes of a weight in device memory."""
    if is_vector(leaf):
        return 4 * leaf.n_elements
    layout = _planes(leaf)
    return (
        leaf.n_bytes if layout is None else prod(leaf.shape[:-1]) * layout.row_bytes(leaf.shape[-1])
    )


def _planes(leaf: Tensor) -> Layout | None:
    """The layout into which a weight is gathered, or None where it lies as in the file."""
    layout = None if is_vector(leaf) else LAYOUTS.get(leaf.dtype.name)
    return None if layout is None or layout.is_native else layout


def _row_bytes(leaf: Tensor) -> int:
    return leaf.dtype.row_bytes(leaf.shape[-1])


def _check(leaf: Tensor) -> None:
    """Raise ModelError for a type that no kernel takes."""
    if not is_vector(leaf) and not is_float(leaf.dtype):
        layout_of(leaf.dtype)
