"""A dependent launch that starts before the one ahead of it is done, as a GPU may start it.

A block of it runs as far as it can without passing pdl_wait(), and its copies arrive; then the
launch ahead runs. So a kernel that reads too early reads what was there before, every time.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable

from gguf_run.errors import DeviceError


class EarlyLaunch:
    """Runs `run(gate)` in a thread; on return it waits at the gate or has ended."""

    def __init__(self, runtime: ctypes.CDLL, run: Callable[[int], None]) -> None:
        runtime.emu_gate_new.restype = ctypes.c_void_p
        self._runtime = runtime
        self._gate: int = runtime.emu_gate_new()
        self._error: DeviceError | None = None
        self._thread = threading.Thread(target=self._run, args=(run,))
        self._thread.start()
        runtime.emu_gate_wait_for_arrival(ctypes.c_void_p(self._gate))

    def _run(self, run: Callable[[int], None]) -> None:
        try:
            run(self._gate)
        except DeviceError as error:
            self._error = error

    def finish(self) -> None:
        """The launch ahead is done: open the gate and wait for this one; raises its DeviceError."""
        self._runtime.emu_gate_open(ctypes.c_void_p(self._gate))
        self._thread.join()
        self._runtime.emu_gate_free(ctypes.c_void_p(self._gate))
        if self._error is not None:
            raise self._error
