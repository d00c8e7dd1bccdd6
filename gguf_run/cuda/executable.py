"""A plan bound to a device's memory: steps as launches, one by one or as a captured graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from gguf_run.cuda.device import Buffer, Device, Event, Graph, Kernel, Stream
from gguf_run.cuda.lowering import Call
from gguf_run.cuda.schedule import Placement, place
from gguf_run.cuda.staging import Inputs, Outputs
from gguf_run.errors import DeviceError
from gguf_run.graph import Tensor
from gguf_run.plan import Step

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class BoundStep:
    """A step and its launches, in order."""

    step: Step
    launches: tuple[tuple[Kernel, Call], ...]
    workspace_bytes: int

    def __str__(self) -> str:
        sources = ", ".join(map(_described, self.step.inputs))
        results = ", ".join(map(_described, self.step.outputs))
        return f"step {self.step.index}, {self.step.op}({sources}) -> {results}"


def _described(t: Tensor) -> str:
    return f"{t.base.name}: {t.dtype.name} {t.shape}"


@dataclass(slots=True)
class CudaExecutable:
    """A plan as launches; with `use_graphs` the second run captures them and later ones replay.

    A first run is often the only one: the last batch of a prompt may have any length.

    Errors name the step where the device tells: a device with `debug` waits after each launch, and
    then nothing is captured. `streams` begin with the main stream; branches use the others.
    """

    device: Device
    arena: Buffer
    steps: Sequence[BoundStep]
    inputs: Inputs
    outputs: Sequence[tuple[Tensor, Buffer]]
    results: Outputs
    streams: Sequence[Stream]
    use_graphs: bool
    after: Callable[[], None] | None = None
    """Makes launches that end each run, in the main stream; they are recorded with it."""
    _graph: Graph | None = field(default=None)
    _has_run: bool = field(default=False)

    def __call__(
        self, inputs: Mapping[str, npt.NDArray[Any]], meanwhile: Callable[[], None] | None = None
    ) -> npt.NDArray[Any]:
        """Run one step on `inputs` (by leaf name) -> the first output, a new array.

        `meanwhile` is called when all steps are in the stream.
        """
        self.load(inputs)
        self.start()
        if meanwhile is not None:
            meanwhile()
        return self.result()

    def load(self, inputs: Mapping[str, npt.NDArray[Any]]) -> None:
        """Send the inputs to the device; names that the plan doesn't read are passed over."""
        self.inputs.send(inputs)

    def start(self) -> None:
        """Put all steps into the main stream; does not wait."""
        if self._graph is None and self._has_run and self.use_graphs and not self.device.debug:
            self.capture()
        if self._graph is not None:
            self._graph.replay()
        else:
            for bound in self.steps:
                self.launch(bound)
            if self.after is not None:
                self.after()
        self._has_run = True

    def result(self) -> npt.NDArray[Any]:
        """The first output, once all steps are done."""
        t, at = self.outputs[0]
        try:
            return self.results.fetch(at, t)
        except DeviceError as error:
            raise DeviceError(f"{len(self.steps)} steps up to {self.steps[-1]}: {error}") from error

    def launch(self, bound: BoundStep, stream: Stream | None = None) -> None:
        """Put the launches of one step into a stream."""
        for kernel, call in bound.launches:
            try:
                self.device.launch(
                    kernel,
                    call.grid,
                    call.block,
                    call.args,
                    shared=call.shared,
                    pdl=call.pdl,
                    stream=stream,
                )
            except DeviceError as error:
                raise DeviceError(f"{bound}: {error}") from error

    def capture(self) -> None:
        """Record all steps as a graph, which `start` replays from now on."""
        placements = place([bound.step.edges for bound in self.steps], len(self.streams))
        # Events live until the end of the capture, which refers to them.
        events: dict[int, Event] = {}
        with self.device.capture() as graph:
            others = self.streams[1 : 1 + max(p.stream for p in placements)]
            begin = self.device.record(self.streams[0])
            for stream in others:
                self.device.wait(begin, stream)
            self._launch_branches(placements, events)
            ends = [self.device.record(stream) for stream in others]
            for end in ends:
                self.device.wait(end, self.streams[0])
            if self.after is not None:
                self.after()
        self._graph = graph

    def _launch_branches(self, placements: Sequence[Placement], events: dict[int, Event]) -> None:
        """Launch all steps in their streams; `events` gets the marks that others wait for."""
        awaited = {step for p in placements for step in p.waits}
        for bound, placement in zip(self.steps, placements, strict=True):
            stream = self.streams[placement.stream]
            for step in placement.waits:
                self.device.wait(events[step], stream)
            self.launch(bound, stream)
            if bound.step.index in awaited:
                events[bound.step.index] = self.device.record(stream)
