"""CuPy's streams, events and graphs by the device's contract; its errors as DeviceErrors."""

from __future__ import annotations

from collections.abc import Callable
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

    def __init__(self, cupy: Any) -> None:
        self.cupy = cupy
        self._errors = (cupy.cuda.runtime.CUDARuntimeError, cupy.cuda.driver.CUDADriverError)

    def __call__(self, what: str, function: Callable[..., T], *arguments: Any) -> T:
        """The result of `function`; an error says `what` was tried."""
        try:
            return function(*arguments)
        except self._errors as error:
            raise DeviceError(f"{what}: {error}") from error


@dataclass(frozen=True, slots=True)
class CupyStream:
    """A CUDA stream that doesn't wait for the default stream."""

    stream: Any


@dataclass(frozen=True, slots=True)
class CupyEvent:
    """A CUDA event."""

    call: Calls
    event: Any

    def synchronize(self) -> None:
        """Wait until the work before the mark is done."""
        self.call(ASYNCHRONOUS, self.event.synchronize)

    def elapsed_ms(self, start: Event) -> float:
        """Milliseconds of device time since `start`."""
        assert isinstance(start, CupyEvent)
        elapsed = self.call.cupy.cuda.get_elapsed_time
        return float(self.call("an event's time", elapsed, start.event, self.event))


@dataclass(slots=True)
class CupyGraph:
    """A CUDA graph that runs in `stream`, and what its launches point to."""

    call: Calls
    stream: Any
    graph: Any = None
    keep: list[object] = field(default_factory=list)

    def replay(self) -> None:
        """Run the recorded work."""
        if self.graph is None:
            raise DeviceError("the graph was not recorded to its end")
        self.call("replaying a graph", self.graph.launch, self.stream)
