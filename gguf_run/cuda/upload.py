"""From files to device memory, faster than one thread can copy.

Reader threads fill slots of pinned memory from the page cache, and each slot goes to the device by
an asynchronous copy while others are read. Host memory stays flat: it is the slots, whatever the
size of the model.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gguf_run.cuda.device import Buffer, Device, Event, Stream
from gguf_run.loader_bytes import Read

N_READER = min(8, os.cpu_count() or 1)
SLOT_BYTES = 8 << 20
N_COPYING = 4
"""Slots that copies may hold beside those of the readers: a copy takes a fraction of a read."""

Slot = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Transfer:
    """Bytes `offset : offset + target.n_bytes` of what `read` reads, and where they go.

    `then(stream)` is called once their last copy is in the stream: to queue what turns them into
    another layout. Transfers go one after another, so the next may use the same memory again.
    """

    read: Read
    offset: int
    target: Buffer
    then: Callable[[Stream], Any] | None = None


@dataclass(frozen=True, slots=True)
class _Part:
    """What one slot carries: bytes `start : start + n_bytes` of a transfer."""

    transfer: Transfer
    start: int
    n_bytes: int

    @property
    def is_last(self) -> bool:
        return self.start + self.n_bytes == self.transfer.target.n_bytes


class Uploader:
    """Copies files to `device` through slots of pinned memory, in a stream of its own."""

    def __init__(
        self, device: Device, n_reader: int = N_READER, slot_bytes: int = SLOT_BYTES
    ) -> None:
        self._device = device
        self._stream = device.stream()
        self._n_reader = n_reader
        self._slot_bytes = slot_bytes
        self._n_slot = 0
        self._free: deque[Slot] = deque()
        self._reading: deque[tuple[Future[None], Slot, _Part]] = deque()
        self._copying: deque[tuple[Event, Slot]] = deque()

    def upload(
        self, transfers: Iterable[Transfer], progress: Callable[[int], None] | None = None
    ) -> None:
        """Run all transfers in order and wait for them; `transfers` are drawn as they begin.

        Args:
            progress: called with the bytes of each part whose copy has started.

        Raises:
            GGUFError: a file can't be read, or ends too early. DeviceError: a copy failed.
        """
        # What the main stream still does with the targets comes first, and it waits for the copies.
        self._device.wait(self._device.record(), self._stream)
        with ThreadPoolExecutor(self._n_reader, "gguf-run-reader") as pool:
            try:
                for part in self._parts(transfers):
                    if len(self._reading) == self._n_reader:
                        self._start_copy(progress)
                    slot = self._take_slot()
                    self._reading.append((pool.submit(_read, part, slot), slot, part))
                while self._reading:
                    self._start_copy(progress)
            finally:
                self._settle()
        self._device.wait(self._device.record(self._stream))

    def _parts(self, transfers: Iterable[Transfer]) -> Iterator[_Part]:
        for transfer in transfers:
            n_bytes = transfer.target.n_bytes
            for start in range(0, n_bytes, self._slot_bytes):
                yield _Part(transfer, start, min(self._slot_bytes, n_bytes - start))

    def _take_slot(self) -> Slot:
        """A slot that nothing uses; some more than readers are made, as they are needed."""
        if self._free:
            return self._free.popleft()
        if self._n_slot < self._n_reader + N_COPYING:
            self._n_slot += 1
            return self._device.pinned(self._slot_bytes)
        event, slot = self._copying.popleft()
        event.synchronize()
        return slot

    def _start_copy(self, progress: Callable[[int], None] | None) -> None:
        """Send the part whose read began first."""
        future, slot, part = self._reading[0]
        future.result()
        self._reading.popleft()
        transfer = part.transfer
        target = transfer.target.at(part.start, part.n_bytes)
        event = self._device.upload_async(target, slot[: part.n_bytes], self._stream)
        self._copying.append((event, slot))
        if part.is_last and transfer.then is not None:
            transfer.then(self._stream)
        if progress is not None:
            progress(part.n_bytes)

    def _settle(self) -> None:
        """Wait until no read and no copy uses a slot any more."""
        while self._reading:
            future, slot, _ = self._reading.popleft()
            if not future.cancel():
                future.exception()
            self._free.append(slot)
        while self._copying:
            event, slot = self._copying.popleft()
            self._free.append(slot)
            event.synchronize()


def _read(part: _Part, slot: Slot) -> None:
    """Fill the slot."""
    part.transfer.read(part.transfer.offset + part.start, slot[: part.n_bytes].data)
