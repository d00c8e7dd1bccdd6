"""Weights on the device, as the file stores them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gguf_run.cuda.device import Buffer, Device, Progress
from gguf_run.cuda.upload import Transfer, Uploader
from gguf_run.graph import Graph, Tensor
from gguf_run.loader import GGUFFile


def activations_as_products_take_them(graph: Graph) -> Graph:
    """`graph` with casts of activations to the types that the products' kernels read."""
    return graph


class DeviceWeights:
    """The weights of `file` on `device`, loaded as they are asked for."""

    def __init__(self, file: GGUFFile, device: Device) -> None:
        self._file = file
        self._device = device
        self._buffers: dict[str, Buffer] = {}

    def n_bytes(self, leaves: Iterable[Tensor]) -> int:
        """Device memory that loading these takes, those that are there left out."""
        return sum(t.n_bytes for t in leaves if t.name not in self._buffers)

    def load(self, leaves: Iterable[Tensor], progress: Progress | None = None) -> None:
        """Put weights onto the device that aren't there."""
        missing = [t for t in leaves if t.name not in self._buffers]
        if not missing:
            return
        done, total = 0, sum(t.n_bytes for t in missing)

        def count(n_bytes: int) -> None:
            nonlocal done
            done += n_bytes
            if progress is not None:
                progress("weights", done, total)

        Uploader(self._device).upload(self._transfers(missing), count)

    def _transfers(self, leaves: Iterable[Tensor]) -> Iterator[Transfer]:
        for t in leaves:
            info = self._file.tensors[t.name]
            buffer = self._buffers[t.name] = self._device.alloc(t.n_bytes)
            yield Transfer(info.path, info.offset, buffer)

    def buffer(self, leaf: Tensor) -> Buffer:
        """Where `leaf` lies; loaded now if it isn't there."""
        self.load([leaf])
        return self._buffers[leaf.name]
