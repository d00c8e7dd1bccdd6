"""Runs plans on a device: binds tensors to buffers, lowers steps to launches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import gguf_run.cuda.ops as _ops  # noqa: F401  (registers the wrappers)
from gguf_run.cuda.device import Buffer, Device, Kernel, Progress
from gguf_run.cuda.executable import BoundStep, CudaExecutable
from gguf_run.cuda.lowering import LOWERINGS, WORKSPACES, Call, Lowering
from gguf_run.cuda.source import KernelSource
from gguf_run.cuda.staging import Inputs, Outputs
from gguf_run.cuda.weights import DeviceWeights, activations_as_products_take_them
from gguf_run.graph import Graph, Kind, Tensor
from gguf_run.loader import GGUFFile
from gguf_run.plan import FUSIONS, Plan, Step, make_plan


class CudaBackend:
    """Weights and caches on `device`.

    Args:
        file: the model; it must stay open until the weights are on the device.
        device: is closed with the backend.
        use_graphs: replay each plan as one captured graph, else launch step by step.
        debug: wait after each step, so that a failing kernel is named; no graphs then.
        progress: called while kernels are compiled.
    """

    default_cache_type = "F16"

    def __init__(
        self,
        file: GGUFFile,
        device: Device,
        *,
        use_graphs: bool = True,
        debug: bool = False,
        progress: Progress | None = None,
    ) -> None:
        self.name = device.name
        self.device = device
        self.weights = DeviceWeights(file, device)
        self.caches: dict[str, Buffer] = {}
        self._arena = device.alloc(0)
        self._results = Outputs(device)
        self._use_graphs = use_graphs
        self._debug = debug
        self._progress = progress
        self._kernels: dict[KernelSource, Mapping[str, Kernel]] = {}

    def plan(self, graph: Graph, fuse: bool = True) -> Plan:
        """Plan `graph` with this backend's fusions, activations cast as its products take them."""
        fusions = tuple(f for f in FUSIONS if f.name in LOWERINGS) if fuse else ()
        return make_plan(activations_as_products_take_them(graph), fusions, self._workspace)

    def _workspace(self, op: str, parts: tuple[Tensor, ...]) -> int:
        return WORKSPACES[op](self.device, parts) if op in WORKSPACES else 0

    def prepare(self, plan: Plan) -> CudaExecutable:
        """Bind `plan` to the device's memory and its kernels."""
        arena = self._arena_for(plan)
        inputs = Inputs(self.device, [t for t in plan.leaves if t.kind is Kind.INPUT])
        leaves = {leaf: self._leaf(leaf, inputs) for leaf in plan.leaves}
        low = Lowering(self.device, arena, plan.offsets, leaves, [])
        calls = [self._lower(low, step) for step in plan.steps]
        self._compile(call for of_step in calls for call in of_step)
        steps = [
            BoundStep(
                step,
                tuple((self._kernels[call.module][call.kernel], call) for call in of_step),
                self._workspace(step.op, step.parts),
            )
            for step, of_step in zip(plan.steps, calls, strict=True)
        ]
        outputs = [(t, low.at(t)) for t in plan.outputs]
        return CudaExecutable(
            self.device,
            arena,
            steps,
            inputs,
            outputs,
            self._results,
            self._use_graphs,
            self._debug,
        )

    def _arena_for(self, plan: Plan) -> Buffer:
        """The memory that all plans share, since one runs at a time; or more, for a larger plan."""
        if plan.arena_bytes > self._arena.n_bytes:
            self._arena = self.device.alloc(plan.arena_bytes)
        return self._arena.at(0, plan.arena_bytes)

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

    @staticmethod
    def _lower(low: Lowering, step: Step) -> Sequence[Call]:
        before = len(low.calls)
        LOWERINGS[step.op](low, step)
        return low.calls[before:]

    def _compile(self, calls: Iterable[Call]) -> None:
        missing = [m for m in dict.fromkeys(c.module for c in calls) if m not in self._kernels]
        for source, module in zip(
            missing, self.device.modules(missing, self._progress), strict=True
        ):
            self._kernels[source] = module

    def close(self) -> None:
        """Give the device's memory back."""
        self.caches.clear()
        self._kernels.clear()
        self.device.close()
