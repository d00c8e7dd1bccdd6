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

ADVANCE = kernel_module("advance.cu", ["advance_i32"])
AHEAD = 2
"""Steps whose tokens may be unread."""


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
        self._outputs: list[tuple[Buffer, npt.DTypeLike]] = [
            (at, np.int32 if i == 0 else np.float32) for i, (_, at) in enumerate(executable.outputs)
        ]
        self._n_tok = executable.outputs[0][0].n_elements
        size = 4 * self._n_tok
        self._slots = [[device.pinned(size) for _ in self._outputs] for _ in range(AHEAD)]
        self._free = deque(self._slots)
        self._unread: deque[tuple[list[npt.NDArray[np.uint8]], Event]] = deque()
        self._table: npt.NDArray[Any] | None = None
        self._table_sent: Event | None = None
        self._table_host = device.pinned(executable.inputs.buffers["block_table"].n_bytes)

    def begin(self, inputs: Mapping[str, npt.NDArray[Any]]) -> None:
        """Set the inputs of the first step; all steps before must have been read."""
        assert not self._unread
        self._executable.load(inputs)
        self._table = inputs["block_table"].copy()

    def start(self, block_table: npt.NDArray[Any]) -> None:
        """Put a step into the stream. `block_table` holds the page of its successor, too."""
        if self._table is None or not np.array_equal(block_table, self._table):
            self._send_table(block_table)
        self._executable.start()
        self._move_on()
        slot = self._free.popleft()
        for pinned, (at, _) in zip(slot, self._outputs, strict=True):
            event = self._device.download_async(pinned, at)
        self._unread.append((slot, event))

    def read(self) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        """The oldest unread step's tokens and log probabilities (n_tok,)."""
        slot, event = self._unread.popleft()
        event.synchronize()
        tokens, log_probs = (
            pinned.view(dtype).copy()
            for pinned, (_, dtype) in zip(slot, self._outputs, strict=True)
        )
        self._free.append(slot)
        return tokens, log_probs

    def _send_table(self, block_table: npt.NDArray[Any]) -> None:
        """Copy the table, in order with the steps."""
        if self._table_sent is not None:
            self._table_sent.synchronize()
        self._table = block_table.copy()
        self._table_host[:] = self._table.reshape(-1).view(np.uint8)
        target = self._executable.inputs.buffers["block_table"]
        self._table_sent = self._device.upload_async(target, self._table_host)

    def _move_on(self) -> None:
        buffers = self._executable.inputs.buffers
        assert self._table is not None
        self._device.launch(
            self._advance,
            -(-self._n_tok // 128),
            128,
            [
                self._outputs[0][0],
                *(buffers[name] for name in ("tokens", "positions", "slots", "seq_ids")),
                *(buffers["block_table"], self._n_tok, self._table.shape[1], self._page_size),
            ],
        )
