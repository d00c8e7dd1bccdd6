"""What would run a model on a device: the plan of a step, its kernels, the memory that it takes.

Nothing is loaded, and for a GPU none has to be there.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gguf_run.arch import BatchShape, find_architecture
from gguf_run.cache_shape import cache_shape
from gguf_run.costs import total_cost
from gguf_run.engine import GraphSource
from gguf_run.errors import DeviceError
from gguf_run.fusion import FUSIONS
from gguf_run.graph import Graph, Kind, Tensor
from gguf_run.hparams import HParams, architecture_name
from gguf_run.loader import GGUFFile
from gguf_run.plan import Plan, Step, make_plan
from gguf_run.reference_backend import ReferenceBackend
from gguf_run.weights import WeightTable


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan for `device`, and how many kernels each step launches (none on the CPU).

    `n_past` tokens in the context before fill it.
    """

    device: str
    plan: Plan
    kernels: tuple[int, ...]
    n_past: int

    @property
    def by_layer(self) -> dict[int | None, int]:
        """Kernels, or on the CPU steps, of each layer; of what is outside of layers, under None."""
        counts: Counter[int | None] = Counter()
        layer = None
        for step, n in zip(
            self.plan.steps, self.kernels or [1] * len(self.plan.steps), strict=True
        ):
            layer = _layer(step, layer)
            counts[layer] += n
        return dict(counts)

    @property
    def memory(self) -> dict[str, int]:
        """Bytes by what they are for; weights as they lie in the file."""
        return {
            "weights": _bytes_of(self.plan.leaves, Kind.WEIGHT),
            "caches": _bytes_of(self.plan.leaves, Kind.CACHE),
            "activations": self.plan.arena_bytes,
        }


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be planned: the device and, of a GPU that isn't there, its compute capability;
    tokens of the step; context and largest step, 0 as usual; cache types, None as usual."""

    device: str = "auto"
    capability: int | None = None
    n_tok: int = 1
    n_ctx: int = 0
    n_batch: int = 0
    cache_type_k: str | None = None
    cache_type_v: str | None = None
    fuse: bool = True


def plan_model(file: GGUFFile, request: Request) -> Planned:
    """Plan a step of one sequence.

    Raises `ModelError` where the model can't run, `DeviceError` where there is no such device.
    """
    source = str(file.path)
    build = find_architecture(architecture_name(file.metadata, source), source)
    hp = HParams.from_metadata(file.metadata, source)
    n_ctx = request.n_ctx or hp.n_ctx_train

    def graph(default_type: str, default_batch: int) -> Graph:
        n_batch = max(request.n_batch or default_batch, request.n_tok)
        types = (request.cache_type_k, request.cache_type_v, default_type)
        table = WeightTable.from_gguf(file)
        cache = cache_shape(hp, n_ctx, n_batch, *types)
        return GraphSource(build, hp, table, cache).graph(BatchShape(request.n_tok))

    n_past = max(0, n_ctx - request.n_tok)
    if _runs_on_cpu(request):
        cpu = graph(ReferenceBackend.default_cache_type, ReferenceBackend.default_batch)
        return Planned("cpu", make_plan(cpu, FUSIONS if request.fuse else ()), (), n_past)
    from gguf_run.cuda.backend import CudaBackend
    from gguf_run.cuda.planning import count_launches, find_gpu, plan_graph

    gpu = find_gpu(request.device, request.capability)
    plan = plan_graph(
        graph(CudaBackend.default_cache_type, CudaBackend.default_batch), gpu, request.fuse
    )
    return Planned(gpu.name, plan, tuple(count_launches(plan, gpu)), n_past)


def _runs_on_cpu(request: Request) -> bool:
    if request.capability is not None:
        if request.device not in ("auto", "cuda"):
            raise DeviceError(f"an architecture is a GPU's, and the device is {request.device}")
        return False
    if request.device == "auto":
        from gguf_run.cuda.select import is_available

        return not is_available()
    return request.device == "cpu"


def _layer(step: Step, before: int | None) -> int | None:
    """The layer of a step: what the names of its weights and caches say; of one that reads neither,
    that of the step before it."""
    leaves = [t.base if t.base.kind is Kind.CACHE else t for t in step.inputs]
    names = [t.name for t in leaves if t.kind is not Kind.OP]
    found = [re.match(r"blk\.(\d+)\.|(?:cache|state)_.*\.(\d+)$", name) for name in names]
    layers = [int(match[1] or match[2]) for match in found if match]
    if layers:
        return layers[0]
    ends = "out_rows" in names or any(t.kind is Kind.WEIGHT for t in leaves)
    return None if ends else before


def _bytes_of(leaves: Iterable[Tensor], kind: Kind) -> int:
    return sum(t.n_bytes for t in leaves if t.kind is kind)


# Text


def summary(planned: Planned) -> str:
    """Lines below the table of steps: launches of a layer, bytes of a step, memory."""
    plan = planned.plan
    what = "kernels" if planned.kernels else "steps"
    empty, full = (total_cost(plan.steps, n).bytes_read for n in (0, planned.n_past))
    memory = ", ".join(f"{name} {n:,}" for name, n in planned.memory.items())
    lines = [
        f"for {planned.device}: {_launches(planned.by_layer, what)}",
        f"bytes read: {empty:,} in an empty context, {full:,} behind {planned.n_past} tokens",
        f"memory, bytes: {memory}",
    ]
    caches = _caches([t for t in plan.leaves if t.kind is Kind.CACHE])
    return "\n".join([*lines, *([f"caches: {caches}"] if caches else [])])


def _launches(by_layer: dict[int | None, int], what: str) -> str:
    """Such as "219 kernels: 6 in each of 36 layers, 3 outside"."""
    layers = Counter(n for layer, n in by_layer.items() if layer is not None)
    parts = [
        f"{n} in each of {count} layers" if count > 1 else f"{n} in one layer"
        for n, count in sorted(layers.items())
    ]
    parts.append(f"{by_layer.get(None, 0)} outside")
    return f"{sum(by_layer.values())} {what}: {', '.join(parts)}"


def _caches(caches: Sequence[Tensor]) -> str:
    """Caches of one shape and type together, such as "36 of cache_k (132, 8, 64, 128) F16"."""
    kinds = Counter((t.name.rpartition(".")[0], t.shape, t.dtype.name) for t in caches)
    return ", ".join(f"{n} of {name} {shape} {kind}" for (name, shape, kind), n in kinds.items())
