"""The way of a step's inputs to the device and of its results back, through pinned host memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gguf_run.cuda.buffer import Buffer
from gguf_run.cuda.device import Device
from gguf_run.errors import DeviceError
from gguf_run.graph import F16, F32, I32, Tensor
from gguf_run.quants import QuantType

ALIGNMENT = 256
CHUNK_BYTES = 32 << 20
"""Pinned memory for results: more than a step's logits take, unless every token's are wanted."""

_NUMPY_DTYPES: Mapping[QuantType, type[np.generic]] = {
    F32: np.float32,
    F16: np.float16,
    I32: np.int32,
}


def host_array(content: npt.NDArray[np.uint8], t: Tensor) -> npt.NDArray[Any]:
    """The bytes of `t` as an array: of its numbers in its shape; of block types rows of bytes."""
    dtype = _NUMPY_DTYPES.get(t.dtype)
    if dtype is None:
        return content.reshape(*t.shape[:-1], t.dtype.row_bytes(t.shape[-1]))
    return content.view(np.dtype(dtype)).reshape(t.shape)


class Inputs:
    """All input leaves of a plan in one buffer, and one copy that fills it."""

    def __init__(self, device: Device, leaves: Sequence[Tensor]) -> None:
        self._device = device
        self.buffers: dict[str, Buffer] = {}
        self._host: dict[str, npt.NDArray[Any]] = {}
        starts, n_bytes = [], 0
        for leaf in leaves:
            starts.append(n_bytes)
            n_bytes += -(-leaf.n_bytes // ALIGNMENT) * ALIGNMENT
        self._pinned = device.pinned(n_bytes)
        self._pinned[:] = 0
        self._buffer = device.alloc(n_bytes)
        for leaf, start in zip(leaves, starts, strict=True):
            part = self._pinned[start : start + leaf.n_bytes]
            self.buffers[leaf.name] = self._buffer.at(start, leaf.n_bytes)
            self._host[leaf.name] = host_array(part, leaf)

    def send(self, values: Mapping[str, npt.NDArray[Any]]) -> None:
        """Fill the leaves that `values` names; the others keep what they had.

        The step before must be done: its copy may still be reading the pinned memory.
        """
        for name, array in values.items():
            if name not in self._host:
                continue
            host = self._host[name]
            if array.shape != host.shape:
                raise DeviceError(f"input {name}: expected shape {host.shape}, found {array.shape}")
            host[...] = array
        if self._pinned.size:
            self._device.upload_async(self._buffer, self._pinned)


class Outputs:
    """Pinned memory that results come through; one for all plans, as one runs at a time."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._pinned = device.pinned(0)

    def fetch(self, at: Buffer, t: Tensor) -> npt.NDArray[Any]:
        """`t`, which lies at `at` without gaps, as a new array, after the main stream's work."""
        if self._pinned.size < min(t.n_bytes, CHUNK_BYTES):
            self._pinned = self._device.pinned(min(t.n_bytes, CHUNK_BYTES))
        result = np.empty(t.n_bytes, np.uint8)
        for start in range(0, t.n_bytes, CHUNK_BYTES):
            part = result[start : start + CHUNK_BYTES]
            pinned = self._pinned[: part.size]
            self._device.download_async(pinned, at.at(start, part.size)).synchronize()
            part[:] = pinned
        return host_array(result, t)
