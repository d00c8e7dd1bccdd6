"""How long the steps of a plan take on a device, each alone and all as they run in earnest.

A step alone is launched behind a reading of more memory than the caches hold. So its launches are
in the queue before the device comes to them, and it finds its weights in memory, not in a cache
that another run has warmed. Steps run in the plan's order, on the numbers of the steps before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

import numpy.typing as npt

from gguf_run.costs import StepTimes
from gguf_run.cuda.device import Device, Event
from gguf_run.cuda.executable import CudaExecutable
from gguf_run.cuda.peaks import Reader

READ_AHEAD_BYTES = 256 << 20
"""More than any cache holds, and long enough to read for a step's launches to be queued."""
N_EMPTY = 20


def time_steps(
    executable: CudaExecutable, inputs: Mapping[str, npt.NDArray[Any]], repetitions: int
) -> StepTimes:
    """Run a prepared plan on `inputs` and time it: medians, once it has been warmed up."""
    device = executable.device
    ahead = _reading_ahead(device)
    executable.load(inputs)
    rounds = [_one_round(executable, ahead) for _ in range(1 + repetitions)][1:]
    empty = median(_span(device, ahead, lambda: None) for _ in range(N_EMPTY))
    steps = tuple(max(0.0, median(times) - empty) for times in zip(*rounds, strict=True))
    # The first run launches, the second one records; then a graph is replayed.
    whole = [_span(device, ahead, executable.start) for _ in range(2 + repetitions)][2:]
    return StepTimes(steps, median(whole))


def _reading_ahead(device: Device) -> Callable[[], None]:
    if device.arch == "emulated":
        return lambda: None
    return Reader(device, min(READ_AHEAD_BYTES, device.memory_free // 2)).launch


def _one_round(executable: CudaExecutable, ahead: Callable[[], None]) -> list[float]:
    """Seconds of each step, in order."""
    device, marks = executable.device, list[tuple[Event, Event]]()
    for bound in executable.steps:
        ahead()
        before = device.record()
        executable.launch(bound)
        marks.append((before, device.record()))
    device.synchronize()
    return [after.elapsed_ms(before) / 1e3 for before, after in marks]


def _span(device: Device, ahead: Callable[[], None], work: Callable[[], None]) -> float:
    """Seconds between two marks around `work`."""
    ahead()
    before = device.record()
    work()
    after = device.record()
    device.synchronize()
    return after.elapsed_ms(before) / 1e3
