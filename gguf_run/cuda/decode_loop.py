"""Steps of one token a sequence that follow each other on the device: each step's drawn token is
the next one's input, and the host reads tokens while the next step is already running.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from gguf_run.cuda.device import Buffer, Device, Event
from gguf_run.cuda.executable import CudaExecutable
from gguf_run.cuda.lowering import kernel_module
from gguf_run.cuda.staging import Inputs
from gguf_run.graph import I32, Graph

ADVANCE = kernel_module("advance.cu", ["advance_i32"])
AHEAD = 2
"""Steps whose tokens may be unread."""
OWN = ("state_spare", "draws", "recent", "history")
"""What the inputs of later steps come from, where there are states or a chain of samplers."""

Arrays = Mapping[str, npt.NDArray[Any]]


class Table:
    """A block table on the device, sent when it has changed, in order with the steps."""

    def __init__(self, device: Device, buffer: Buffer) -> None:
        self._device = device
        self._buffer = buffer
        self._host = device.pinned(buffer.n_bytes)
        self._sent: Event | None = None
        self.content: npt.NDArray[Any] | None = None
        """What the device has, or will have."""

    def send(self, content: npt.NDArray[Any]) -> None:
        """Let the steps from now on see `content`."""
        if self.content is not None and np.array_equal(content, self.content):
            return
        if self._sent is not None:
            self._sent.synchronize()
        self.content = content.copy()
        self._host[:] = self.content.reshape(-1).view(np.uint8)
        self._sent = self._device.upload_async(self._buffer, self._host)


class CudaDecodeLoop:
    """A prepared plan with two outputs, tokens (n_tok,) i32 and their log probabilities, run again
    and again.

    `start` puts a step into the stream and `read` waits for the oldest unread one. The inputs are
    those given to `begin`, moved on by one position a step.
    """

    def __init__(self, device: Device, executable: CudaExecutable, page_size: int) -> None:
        self._device = device
        self._executable = executable
        self._page_size = page_size
        self._advance = device.module(ADVANCE)["advance_i32"]
        executable.after = self._move_on
        self._n_tok = executable.outputs[0][0].n_elements
        self._results = device.alloc(8 * self._n_tok)
        self._free = deque(device.pinned(8 * self._n_tok) for _ in range(AHEAD))
        self._unread: deque[tuple[npt.NDArray[np.uint8], Event]] = deque()
        inputs = executable.inputs.buffers
        self._tables = {
            name: Table(device, inputs[name])
            for name in ("block_table", "block_table_window")
            if name in inputs
        }
        self._own: Inputs | None = None

    @property
    def n_unread(self) -> int:
        """Steps that have been started and not read."""
        return len(self._unread)

    def begin(self, inputs: Arrays) -> None:
        """Set the inputs of the first step; all steps before must have been read."""
        assert not self._unread
        self._executable.load(inputs)
        if self._own is None:
            g = Graph()
            own = [g.input(name, inputs[name].shape, I32) for name in OWN if name in inputs]
            self._own = Inputs(self._device, own)
        self._own.send(inputs)
        for name, table in self._tables.items():
            table.content = inputs[name].copy()

    def start(self, tables: Arrays) -> None:
        """Put a step into the stream. `tables` hold the page of its successor, too."""
        for name, table in self._tables.items():
            table.send(tables[name])
        self._executable.start()
        slot = self._free.popleft()
        self._unread.append((slot, self._device.download_async(slot, self._results)))

    def read(self) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        """The oldest unread step's tokens and log probabilities (n_tok,)."""
        slot, event = self._unread.popleft()
        event.synchronize()
        tokens, log_probs = slot.copy().reshape(2, -1)
        self._free.append(slot)
        return tokens.view(np.int32), log_probs.view(np.float32)

    def _move_on(self) -> None:
        """Keep the step's results, and make them the inputs of the next one."""
        assert self._own is not None
        buffers = {**self._executable.inputs.buffers, **self._own.buffers}
        sizes = [
            buffers[name].n_bytes // 4 // self._n_tok if name in buffers else 0
            for name in ("block_table", "block_table_window", "counts", "recent")
        ]
        self._device.launch(
            self._advance,
            -(-self._n_tok // 128),
            128,
            [
                *(at for _, at in self._executable.outputs),
                self._results,
                *(buffers.get(name) for name in ("tokens", "positions", "seq_ids")),
                *(buffers.get(name) for name in ("slots", "block_table")),
                *(buffers.get(name) for name in ("slots_window", "block_table_window")),
                *(buffers.get(name) for name in ("state_in", "state_out", "state_spare")),
                *(buffers.get(name) for name in ("counts", "recent", "draw", "draws", "history")),
                *(self._n_tok, max(sizes[:2]), self._page_size, *sizes[2:]),
            ],
        )
