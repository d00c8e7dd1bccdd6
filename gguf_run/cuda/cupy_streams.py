"""CUDA's runtime as CuPy binds it: streams, events and graphs by the device's contract; errors as
DeviceErrors.

Only `cupy_backends` is imported, the bindings under CuPy's arrays, which nothing here uses: they
take 0.02 s to import, and `cupy` with them 0.2 s.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from gguf_run.cuda.device import Event
from gguf_run.errors import DeviceError

ASYNCHRONOUS = (
    "a kernel or copy that was started earlier has failed (Model(..., debug=True), --debug-kernels "
    "on the command line, says which)"
)

T = TypeVar("T")


class Calls:
    """Calls into CUDA through CuPy: an error of theirs becomes a DeviceError."""

    def __init__(self) -> None:
        from cupy_backends.cuda.api import runtime

        self.runtime = runtime

    def __call__(self, what: str, function: Callable[..., T], *arguments: Any) -> T:
        """The result of `function`; an error says `what` was tried."""
        try:
            return function(*arguments)
        except self.runtime.CUDARuntimeError as error:
            raise DeviceError(f"{what}: {error}") from error


class Handle:
    """Something of CUDA's by its number, given back when nothing refers to this any more.

    At the end of the process all is given back by itself.
    """

    __slots__ = ("__weakref__", "number")

    def __init__(self, number: int, give_back: Callable[[int], object]) -> None:
        self.number = number
        weakref.finalize(self, release, give_back, number).atexit = False


def release(function: Callable[[int], object], number: int) -> None:
    """Give something back, which never fails: once a kernel has, every call does."""
    with suppress(Exception):
        function(number)


@dataclass(frozen=True, slots=True)
class CupyStream:
    """A CUDA stream that doesn't wait for the default stream."""

    handle: Handle

    @classmethod
    def new(cls, call: Calls) -> CupyStream:
        runtime = call.runtime
        number = call("a stream", runtime.streamCreateWithFlags, runtime.streamNonBlocking)
        return cls(Handle(number, runtime.streamDestroy))


@dataclass(frozen=True, slots=True)
class CupyEvent:
    """A CUDA event."""

    call: Calls
    handle: Handle

    @classmethod
    def recorded(cls, call: Calls, stream: CupyStream) -> CupyEvent:
        """A new one behind what is in the stream now."""
        runtime = call.runtime
        number = call("an event", runtime.eventCreateWithFlags, runtime.eventDefault)
        event = cls(call, Handle(number, runtime.eventDestroy))
        call("recording an event", runtime.eventRecord, number, stream.handle.number)
        return event

    def synchronize(self) -> None:
        """Wait until the work before the mark is done."""
        self.call(ASYNCHRONOUS, self.call.runtime.eventSynchronize, self.handle.number)

    def elapsed_ms(self, start: Event) -> float:
        """Milliseconds of device time since `start`."""
        assert isinstance(start, CupyEvent)
        elapsed = self.call.runtime.eventElapsedTime
        numbers = start.handle.number, self.handle.number
        return float(self.call("an event's time", elapsed, *numbers))


@dataclass(slots=True)
class CupyGraph:
    """A CUDA graph that runs in `stream`, and what its launches point to."""

    call: Calls
    stream: CupyStream
    keep: list[object] = field(default_factory=list)
    _executable: Handle | None = None

    def begin(self) -> None:
        """Record the stream's work from here on."""
        runtime, stream = self.call.runtime, self.stream.handle.number
        # Relaxed: memory may be freed elsewhere meanwhile.
        self.call("a capture", runtime.streamBeginCapture, stream, runtime.streamCaptureModeRelaxed)

    def give_up(self) -> None:
        """Record no more; what was recorded is of no use, nor is its error."""
        with suppress(Exception):
            runtime = self.call.runtime
            runtime.graphDestroy(runtime.streamEndCapture(self.stream.handle.number))

    def end(self) -> None:
        """Make what was recorded ready to be replayed."""
        runtime, stream = self.call.runtime, self.stream.handle.number
        recorded = self.call("recording a graph", runtime.streamEndCapture, stream)
        graph = Handle(recorded, runtime.graphDestroy)
        number = self.call("a graph", runtime.graphInstantiate, graph.number)
        self._executable = Handle(number, runtime.graphExecDestroy)
        self.call("a graph", runtime.graphUpload, number, stream)

    def replay(self) -> None:
        """Run the recorded work."""
        if self._executable is None:
            raise DeviceError("the graph was not recorded to its end")
        launch, number = self.call.runtime.graphLaunch, self._executable.number
        self.call("replaying a graph", launch, number, self.stream.handle.number)
