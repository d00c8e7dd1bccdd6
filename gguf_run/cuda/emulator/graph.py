"""Streams, events and graphs of the emulated device.

Outside of a capture all work runs at once, so streams need no state. A capture records what each
piece of work must follow, as CUDA does, and a replay runs the pieces in any order that keeps to it:
with lanes in forward order as recorded, in reverse with the latest first, else at random. In the
latter two dependent launches (pdl) start early. So an edge or a wait that is missing shows as a
wrong result.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from gguf_run.cuda.device import Event, Launch
from gguf_run.cuda.emulator.early import EarlyLaunch
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


@dataclass(frozen=True, slots=True)
class Node:
    """A piece of work, the nodes that it follows, and the launch that it is, if it is one."""

    work: Work
    follows: Nodes
    launch: Launch | None


@dataclass(slots=True)
class EmulatedGraph:
    """Recorded work in the order in which it is run.

    `start_early` starts a dependent launch while the one ahead has not run yet.
    """

    order: str
    seed: int
    start_early: Callable[[Launch], EarlyLaunch]
    _nodes: list[Node] = field(default_factory=list)
    _tails: dict[EmulatedStream, Nodes] = field(default_factory=dict)
    _sequence: list[int] | None = None

    def begin(self, stream: EmulatedStream) -> None:
        """Record this stream, and every one that waits for an event of it."""
        self._tails[stream] = frozenset()

    def add(self, stream: EmulatedStream, work: Work, launch: Launch | None) -> None:
        """Put work behind all that the stream has."""
        node = Node(work, self.tail(stream), launch)
        self._tails[stream] = frozenset([len(self._nodes)])
        self._nodes.append(node)

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
                waiting += self._nodes[node].follows
        if len(joined) < len(self._nodes):
            raise DeviceError("a captured stream was not joined: the first must wait for its end")
        self._sequence = self._ordered()

    def _ordered(self) -> list[int]:
        pick = {"forward": min, "reverse": max}.get(self.order, random.Random(self.seed).choice)
        missing = [len(node.follows) for node in self._nodes]
        followers: list[list[int]] = [[] for _ in self._nodes]
        for i, node in enumerate(self._nodes):
            for earlier in node.follows:
                followers[earlier].append(i)
        ready = [i for i, n in enumerate(missing) if n == 0]
        result = []
        while ready:
            i = pick(ready)
            ready.remove(i)
            result.append(i)
            for later in followers[i]:
                missing[later] -= 1
                if missing[later] == 0:
                    ready.append(later)
        return result

    def replay(self) -> None:
        """Run the recorded work."""
        if self._sequence is None:
            raise DeviceError("the graph was not recorded to its end")
        early: EarlyLaunch | None = None
        for i, next_ in zip(self._sequence, [*self._sequence[1:], None], strict=True):
            next_early = self._started_early(i, next_)
            try:
                if early is None:
                    self._nodes[i].work()
                else:
                    early.finish()
            except DeviceError:
                if next_early is not None:
                    with suppress(DeviceError):
                        next_early.finish()
                raise
            early = next_early

    def _started_early(self, i: int, next_: int | None) -> EarlyLaunch | None:
        """The launch after node `i`, started already where it depends on `i` by pdl alone."""
        if next_ is None or self.order == "forward":
            return None
        ahead, behind = self._nodes[i], self._nodes[next_]
        if ahead.launch is None or behind.launch is None or not behind.launch.pdl:
            return None
        return self.start_early(behind.launch) if behind.follows == {i} else None
