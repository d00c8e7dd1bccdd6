"""Runs plans on a device: binds tensors to buffers, lowers steps to launches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gguf_run.costs import Peaks, StepTimes
from gguf_run.cuda.activations import MAX_PAIR
from gguf_run.cuda.decode_loop import CudaDecodeLoop
from gguf_run.cuda.device import Buffer, Device, Kernel, Progress
from gguf_run.cuda.executable import BoundStep, CudaExecutable
from gguf_run.cuda.lowering import LOWERINGS, Call, Lowering
from gguf_run.cuda.peaks import measure_peaks
from gguf_run.cuda.room import check_room
from gguf_run.cuda.schedule import MAX_STREAMS
from gguf_run.cuda.source import KernelSource
from gguf_run.cuda.staging import Inputs, Outputs
from gguf_run.cuda.weights import DeviceWeights
from gguf_run.graph import Graph, Kind, Tensor
from gguf_run.kv_cache import PAGE_SIZE
from gguf_run.loader import GGUFFile
from gguf_run.plan import Plan

NOTHING = Buffer(0, 0, None)


class CudaBackend:
    """Weights and caches on `device`.

    Args:
        file: the model; it must stay open until the weights are on the device.
        device: is closed with the backend.
        use_graphs: replay each plan as one captured graph, else launch step by step.
        progress: called while kernels are compiled and weights loaded.
    """

    default_cache_type = "F16"
    default_batch = 2048
    """2048 tokens of a prompt in one step are read 1.2 to 1.5 times as fast as 512 (on an H200:
    benchmarks/results/h200-bench.csv)."""

    def __init__(
        self,
        file: GGUFFile,
        device: Device,
        *,
        use_graphs: bool = True,
        progress: Progress | None = None,
    ) -> None:
        self.name = device.name
        self._file = file
        self.device = device
        self.weights = DeviceWeights(file, device)
        self.caches: dict[str, Buffer] = {}
        self._arena = NOTHING
        self._results = Outputs(device)
        self._streams = [device.main, *(device.stream() for _ in range(MAX_STREAMS - 1))]
        self._use_graphs = use_graphs
        self._progress = progress
        self._kernels: dict[KernelSource, Mapping[str, Kernel]] = {}

    def step_size(self, n_tok: int) -> int:
        """Of many tokens up to a quarter more, so that few lengths serve all prompts: one that is
        new takes 60 ms of the host's time (Qwen3-0.6B on an H200), more than its tokens take.
        """
        if n_tok <= MAX_PAIR:
            return n_tok
        unit = 1 << (n_tok - 1).bit_length() - 3
        return -(-n_tok // unit) * unit

    def plan(self, graph: Graph, fuse: bool = True) -> Plan:
        """Plan `graph` with this backend's fusions, activations cast as its products take them."""
        # Imported now: the kernels' wrappers are many, and weights can be on their way meanwhile.
        from gguf_run.cuda.planning import plan_graph

        return plan_graph(graph, self.device, fuse)

    def load(self, plans: Iterable[Plan], weights: Iterable[Tensor] = ()) -> None:
        """Put all that `plans` need onto the device: weights, caches, one arena, kernels.

        `weights` arrive while plans are drawn and kernels loaded. Raises `DeviceError`, having
        loaded nothing, where there is too little memory.
        """
        free, weights = self.device.memory_free, list(weights)
        coming = self.weights.n_bytes(weights)
        check_room(self.device, {"weights": coming}, free)
        with self.weights.loading(weights, self._progress):
            drawn = list(plans)
            arena_bytes = max(plan.arena_bytes for plan in drawn)
            weights, caches = (_leaves(drawn, kind) for kind in (Kind.WEIGHT, Kind.CACHE))
            needs = {
                "weights": coming + self.weights.n_bytes(weights),
                "KV cache": sum(t.n_bytes for t in caches if t.name not in self.caches),
                "activations": max(0, arena_bytes - self._arena.n_bytes),
            }
            check_room(self.device, needs, free)
            for t in caches:
                self._cache(t)
            self._reserve(arena_bytes)
            self.weights.load(weights, self._progress)
            self._compile(call for plan in drawn for call in self._lowered(plan)[0].calls)

    def prepare(self, plan: Plan) -> CudaExecutable:
        """Bind `plan` to the device's memory and its kernels."""
        from gguf_run.cuda.planning import workspace_bytes

        low, ends, inputs = self._lowered(plan)
        self._compile(low.calls)
        launches = [(self._kernels[call.module][call.kernel], call) for call in low.calls]
        steps = [
            BoundStep(
                step, tuple(launches[start:stop]), workspace_bytes(self.device, step.op, step.parts)
            )
            for step, start, stop in zip(plan.steps, (0, *ends), ends, strict=False)
        ]
        return CudaExecutable(
            self.device,
            low.arena,
            steps,
            inputs,
            [(t, low.at(t)) for t in plan.outputs],
            self._results,
            self._streams,
            self._use_graphs,
        )

    def _lowered(self, plan: Plan) -> tuple[Lowering, list[int], Inputs]:
        """The plan's launches, how many there are up to the end of each step, and its inputs."""
        self._reserve(plan.arena_bytes)
        arena = self._arena.at(0, plan.arena_bytes)
        inputs = Inputs(self.device, [t for t in plan.leaves if t.kind is Kind.INPUT])
        leaves = {leaf: self._leaf(leaf, inputs) for leaf in plan.leaves}
        low = Lowering(self.device, arena, plan.offsets, leaves, [])
        ends = []
        for step in plan.steps:
            LOWERINGS[step.op](low, step)
            ends.append(len(low.calls))
        return low, ends, inputs

    def prepare_loop(self, plan: Plan) -> CudaDecodeLoop:
        """Bind a plan that ends with drawn tokens and their log probabilities, to be repeated."""
        return CudaDecodeLoop(self.device, self.prepare(plan), PAGE_SIZE)

    def time_steps(
        self, plan: Plan, inputs: Mapping[str, npt.NDArray[Any]], repetitions: int
    ) -> StepTimes:
        """Medians of how long the steps of a plan take (see cuda/step_times.py)."""
        from gguf_run.cuda.step_times import time_steps

        return time_steps(self.prepare(plan), inputs, repetitions)

    def peaks(self) -> Peaks | None:
        """What the device gives at most, measured now; None where it is emulated: no kernel's time
        says anything there."""
        return None if self.device.arch == "emulated" else measure_peaks(self.device)

    def _reserve(self, n_bytes: int) -> None:
        """Make the arena that all plans share, as one runs at a time, at least this large.

        Executables made before keep the smaller one.
        """
        if n_bytes > self._arena.n_bytes:
            self._arena = self.device.alloc(n_bytes)

    def _leaf(self, leaf: Tensor, inputs: Inputs) -> Buffer:
        if leaf.kind is Kind.WEIGHT:
            return self.weights.buffer(leaf)
        if leaf.kind is Kind.CACHE:
            return self._cache(leaf)
        return inputs.buffers[leaf.name]

    def _cache(self, leaf: Tensor) -> Buffer:
        if leaf.name not in self.caches:
            self.caches[leaf.name] = buffer = self.device.alloc(leaf.n_bytes)
            self.device.fill(buffer, 0)
        return self.caches[leaf.name]

    def read_cache(self, leaf: Tensor, rows: Sequence[int]) -> npt.NDArray[np.uint8]:
        """Rows of a cache as bytes (n_row, n_bytes)."""
        n_bytes = leaf.n_bytes // leaf.shape[0]
        data = np.empty((len(rows), n_bytes), np.uint8)
        for start, stop in _runs(rows):
            part = self._cache(leaf).at(rows[start] * n_bytes)
            data[start:stop] = self.device.download(part, np.uint8, (stop - start, n_bytes))
        return data

    def write_cache(self, leaf: Tensor, rows: Sequence[int], data: npt.NDArray[np.uint8]) -> None:
        """Put such rows back."""
        n_bytes = leaf.n_bytes // leaf.shape[0]
        for start, stop in _runs(rows):
            self.device.upload(self._cache(leaf).at(rows[start] * n_bytes), data[start:stop])

    def _compile(self, calls: Iterable[Call]) -> None:
        missing = [m for m in dict.fromkeys(c.module for c in calls) if m not in self._kernels]
        for source, module in zip(
            missing, self.device.modules(missing, self._progress), strict=True
        ):
            self._kernels[source] = module

    def close(self) -> None:
        """Give the device's memory back."""
        self.weights = DeviceWeights(self._file, self.device)
        self.caches.clear()
        self._arena = NOTHING
        self._kernels.clear()
        self.device.close()


def _leaves(plans: Sequence[Plan], kind: Kind) -> list[Tensor]:
    """The leaves of a kind, each once."""
    return list({t.name: t for plan in plans for t in plan.leaves if t.kind is kind}.values())


def _runs(rows: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Ranges of `rows` whose numbers follow each other, each of which one copy can take."""
    start = 0
    for i in range(1, len(rows) + 1):
        if i == len(rows) or rows[i] != rows[i - 1] + 1:
            yield start, i
            start = i
