"""Runs plans on a device: binds tensors to buffers, lowers steps to launches, replays them as a graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

import gguf_run.cuda.ops as _ops  # noqa: F401  (registers the wrappers)
from gguf_run.cuda.device import Buffer, Device, Kernel, Progress
from gguf_run.cuda.device import Graph as DeviceGraph
from gguf_run.cuda.lowering import LOWERINGS, WORKSPACES, Call, Lowering
from gguf_run.cuda.source import KernelSource
from gguf_run.cuda.weights import DeviceWeights, activations_as_products_take_them
from gguf_run.graph import Graph, Kind, Tensor
from gguf_run.loader import GGUFFile
from gguf_run.plan import FUSIONS, Plan, make_plan

Floats = npt.NDArray[np.float32]


class CudaBackend:
    """Weights and caches on `device`; `use_graphs` replays each plan as one captured graph."""

    default_cache_type = "F16"

    def __init__(
        self,
        file: GGUFFile,
        device: Device,
        *,
        use_graphs: bool = True,
        progress: Progress | None = None,
    ) -> None:
        self.name = device.name
        self.device = device
        self.weights = DeviceWeights(file, device)
        self._use_graphs = use_graphs
        self._progress = progress
        self._caches: dict[str, Buffer] = {}
        self._kernels: dict[KernelSource, Mapping[str, Kernel]] = {}

    def plan(self, graph: Graph, fuse: bool = True) -> Plan:
        """Plan `graph` with this backend's fusions, activations cast as its products take them."""
        fusions = tuple(f for f in FUSIONS if f.name in LOWERINGS) if fuse else ()
        return make_plan(activations_as_products_take_them(graph), fusions, self._workspace)

    def _workspace(self, op: str, parts: tuple[Tensor, ...]) -> int:
        return WORKSPACES[op](self.device, parts) if op in WORKSPACES else 0

    def prepare(self, plan: Plan) -> CudaExecutable:
        """Bind `plan` to the device's memory and its kernels."""
        arena = self.device.alloc(max(plan.arena_bytes, 1))
        leaves, inputs = {}, {}
        for leaf in plan.leaves:
            if leaf.kind is Kind.WEIGHT:
                leaves[leaf] = self.weights.buffer(leaf)
            elif leaf.kind is Kind.CACHE:
                leaves[leaf] = self._cache(leaf)
            else:
                leaves[leaf] = inputs[leaf.name] = self.device.alloc(leaf.n_bytes)
        low = Lowering(self.device, arena, plan.offsets, leaves, [])
        for step in plan.steps:
            LOWERINGS[step.op](low, step)
        self._compile(low.calls)
        launches = [(self._kernels[call.module][call.kernel], call) for call in low.calls]
        outputs = [(low.at(t), t.shape) for t in plan.outputs]
        return CudaExecutable(self.device, launches, inputs, outputs, self._use_graphs)

    def _compile(self, calls: list[Call]) -> None:
        missing = [m for m in dict.fromkeys(c.module for c in calls) if m not in self._kernels]
        for source, module in zip(
            missing, self.device.modules(missing, self._progress), strict=True
        ):
            self._kernels[source] = module

    def _cache(self, leaf: Tensor) -> Buffer:
        if leaf.name not in self._caches:
            self._caches[leaf.name] = buffer = self.device.alloc(leaf.n_bytes)
            self.device.fill(buffer, 0)
        return self._caches[leaf.name]

    def close(self) -> None:
        """Give the device's memory back."""
        self._caches.clear()
        self._kernels.clear()
        self.device.close()


@dataclass(slots=True)
class CudaExecutable:
    """A plan as launches; the second run captures them as a graph, later ones replay it."""

    device: Device
    launches: list[tuple[Kernel, Call]]
    inputs: dict[str, Buffer]
    outputs: list[tuple[Buffer, tuple[int, ...]]]
    use_graphs: bool
    _graph: DeviceGraph | None = field(default=None)

    def __call__(self, inputs: Mapping[str, npt.NDArray[Any]]) -> Floats:
        """Run a step on `inputs` (by leaf name, int32) -> the first output, on the host."""
        for name, values in inputs.items():
            if name in self.inputs:
                self.device.upload(self.inputs[name], values)
        if self._graph is not None:
            self._graph.replay()
        elif self.use_graphs:
            with self.device.capture() as self._graph:
                self._launch_all()
            self._graph.replay()
        else:
            self._launch_all()
        buffer, shape = self.outputs[0]
        return self.device.download(buffer, np.float32, shape)

    def _launch_all(self) -> None:
        for kernel, call in self.launches:
            self.device.launch(kernel, call.grid, call.block, call.args, shared=call.shared)
