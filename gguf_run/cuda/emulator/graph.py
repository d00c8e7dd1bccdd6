"""Streams, events and graphs of the emulated device.

Outside of a capture all work runs at once, so streams need no state. A capture records what each
piece of work must follow, as CUDA does, and a replay runs the pieces in any order that keeps to it:
with lanes in forward order as recorded, in reverse with the latest first, else at random. So an
edge that is missing shows as a wrong result.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gguf_run.cuda.device import Event
from gguf_run.errors import DeviceError

Work = Callable[[], Any]
Nodes = frozenset[int]


@dataclass(frozen=True, slots=True, eq=False)
class EmulatedStream:
    """A stream; in a capture, a chain of nodes."""


@dataclass(frozen=True, slots=True)
class EmulatedEvent:
    """A mark: its `time` in seconds, and in a capture the nodes that it stands behind."""

    time: float
    after: Nodes | None

    def synchronize(self) -> None:
        """Nothing to wait for."""

    def elapsed_ms(self, start: Event) -> float:
        """Milliseconds of wall time since `start`."""
        assert isinstance(start, EmulatedEvent)
        return (self.time - start.time) * 1e3


@dataclass(slots=True)
class EmulatedGraph:
    """Recorded work in the order in which it is run."""

    order: str
    seed: int
    _work: list[Work] = field(default_factory=list)
    _follows: list[Nodes] = field(default_factory=list)
    _tails: dict[EmulatedStream, Nodes] = field(default_factory=dict)
    _sequence: list[Work] | None = None

    def begin(self, stream: EmulatedStream) -> None:
        """Record this stream, and every one that waits for an event of it."""
        self._tails[stream] = frozenset()

    def add(self, stream: EmulatedStream, work: Work) -> None:
        """Put work behind all that the stream has."""
        self._follows.append(self.tail(stream))
        self._tails[stream] = frozenset([len(self._work)])
        self._work.append(work)

    def tail(self, stream: EmulatedStream) -> Nodes:
        """The nodes that the stream's next work follows."""
        if stream not in self._tails:
            raise DeviceError("work in a stream that waits for no event of the captured one")
        return self._tails[stream]

    def wait(self, event: EmulatedEvent, stream: EmulatedStream) -> None:
        """The stream's next work also follows the event."""
        if event.after is None:
            raise DeviceError("a captured stream can't wait for an event from before the capture")
        self._tails[stream] = self._tails.get(stream, frozenset()) | event.after

    def end(self, stream: EmulatedStream) -> None:
        """The capture is over; raises DeviceError where another stream was not joined again."""
        joined: set[int] = set()
        waiting = list(self._tails[stream])
        while waiting:
            node = waiting.pop()
            if node not in joined:
                joined.add(node)
                waiting += self._follows[node]
        if len(joined) < len(self._work):
            raise DeviceError("a captured stream was not joined: the first must wait for its end")
        self._sequence = [self._work[i] for i in self._ordered()]

    def _ordered(self) -> list[int]:
        pick = {"forward": min, "reverse": max}.get(self.order, random.Random(self.seed).choice)
        missing = [len(follows) for follows in self._follows]
        followers: list[list[int]] = [[] for _ in self._follows]
        for node, follows in enumerate(self._follows):
            for earlier in follows:
                followers[earlier].append(node)
        ready = [node for node, n in enumerate(missing) if n == 0]
        result = []
        while ready:
            node = pick(ready)
            ready.remove(node)
            result.append(node)
            for later in followers[node]:
                missing[later] -= 1
                if missing[later] == 0:
                    ready.append(later)
        return result

    def replay(self) -> None:
        """Run the recorded work."""
        if self._sequence is None:
            raise DeviceError("the graph was not recorded to its end")
        for work in self._sequence:
            work()
