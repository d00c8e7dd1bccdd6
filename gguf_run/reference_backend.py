"""Runs a plan with the reference's functions: the backend where no GPU is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from time import perf_counter

import numpy as np
import numpy.typing as npt

import gguf_run.reference_attention as _attention  # noqa: F401  (registers its ops)
import gguf_run.reference_elementwise as _elementwise  # noqa: F401  (registers its ops)
import gguf_run.reference_moe as _moe  # noqa: F401  (registers its ops)
import gguf_run.reference_recurrent as _recurrent  # noqa: F401  (registers its ops)
import gguf_run.reference_sampling as _sampling  # noqa: F401  (registers its op)
from gguf_run.costs import StepTimes
from gguf_run.errors import DeviceError
from gguf_run.fusion import FUSIONS
from gguf_run.graph import VIEW_OPS, Graph, Kind, Tensor
from gguf_run.host_weight import DecodeBudget, HostWeight, default_budget
from gguf_run.loader import GGUFFile
from gguf_run.plan import Plan, make_plan
from gguf_run.reference import NUMPY_DTYPES, REFERENCE, TAKES_STORED_WEIGHT, Array, OpFunction


class ReferenceBackend:
    """Weights and caches in host memory; `prepare` binds a plan's steps to arrays once."""

    name = "cpu"
    default_cache_type = "F32"
    default_batch = 512

    def __init__(self, file: GGUFFile, decoded_bytes: int | None = None) -> None:
        """`decoded_bytes` bounds the memory for decoded weights (default: half of what is free)."""
        self._file = file
        self._budget = DecodeBudget(default_budget() if decoded_bytes is None else decoded_bytes)
        self._weights: dict[str, HostWeight] = {}
        self.caches: dict[str, Array] = {}

    def step_size(self, n_tok: int) -> int:
        """A step has the tokens that there are."""
        return n_tok

    def plan(self, graph: Graph, fuse: bool = True) -> Plan:
        """Plan `graph`; fused steps run as their parts, one after another."""
        return make_plan(graph, FUSIONS if fuse else ())

    def load(self, plans: Iterable[Plan], weights: Iterable[Tensor] = ()) -> None:
        """Nothing, and no plan is drawn: weights are read, and decoded, when first used."""

    def prepare(self, plan: Plan) -> ReferenceExecutable:
        """Bind `plan` to memory; the caches are shared by all plans of this backend.

        Raises `DeviceError` where there isn't so much memory.
        """
        try:
            return self._bind(plan)
        except MemoryError as error:
            raise DeviceError(
                f"out of memory: {error}; lower n_ctx (-c), n_parallel or n_batch (-b), take a "
                "smaller KV cache type (-ctk, -ctv q8_0 or q4_0), or a smaller model"
            ) from error

    def _bind(self, plan: Plan) -> ReferenceExecutable:
        arena = np.empty(plan.arena_bytes, np.uint8)
        inputs: dict[str, Array] = {}
        bound: dict[Tensor, Array | HostWeight] = {}
        for leaf in plan.leaves:
            if leaf.kind is Kind.WEIGHT:
                bound[leaf] = self._weight(leaf)
            elif leaf.kind is Kind.CACHE:
                bound[leaf] = self._cache(leaf)
            else:
                bound[leaf] = inputs[leaf.name] = np.zeros(*_stored_as(leaf))
        binder = _Binder(arena, plan.offsets, bound)
        calls = [
            (REFERENCE[part.op], part, binder.array(part), binder.operands(part))
            for step in plan.steps
            for part in step.parts
        ]
        outputs = [binder.array(t) for t in plan.outputs]
        return ReferenceExecutable(calls, inputs, outputs)

    def prepare_loop(self, plan: Plan) -> None:
        """The host draws the tokens itself."""

    def read_cache(self, leaf: Tensor, rows: Sequence[int]) -> npt.NDArray[np.uint8]:
        """Rows of a cache as bytes (n_row, n_bytes)."""
        return self._cache_bytes(leaf)[list(rows)]

    def write_cache(self, leaf: Tensor, rows: Sequence[int], data: npt.NDArray[np.uint8]) -> None:
        """Put such rows back."""
        self._cache_bytes(leaf)[list(rows)] = data

    def _cache_bytes(self, leaf: Tensor) -> npt.NDArray[np.uint8]:
        return self._cache(leaf).reshape(leaf.shape[0], -1).view(np.uint8)

    def time_steps(self, plan: Plan, inputs: Mapping[str, Array], repetitions: int) -> StepTimes:
        """Medians of how long the steps of a plan take, their parts together."""
        executable = self.prepare(plan)
        sizes = [len(step.parts) for step in plan.steps]
        rounds = [executable.timed(inputs, sizes) for _ in range(1 + repetitions)][1:]
        from statistics import median

        steps = tuple(median(times) for times in zip(*rounds, strict=True))
        return StepTimes(steps, median(sum(times) for times in rounds))

    def peaks(self) -> None:
        """NumPy's limits are not the machine's."""

    def close(self) -> None:
        """Let go of weights and caches."""
        self._weights.clear()
        self.caches.clear()

    def _weight(self, leaf: Tensor) -> HostWeight:
        if leaf.name not in self._weights:
            data = self._file.data(leaf.name)
            self._weights[leaf.name] = HostWeight.of(data, leaf, self._budget)
        return self._weights[leaf.name]

    def _cache(self, leaf: Tensor) -> Array:
        if leaf.name not in self.caches:
            shape, dtype = _stored_as(leaf)
            self.caches[leaf.name] = np.zeros(shape, dtype)
        return self.caches[leaf.name]


@dataclass(slots=True)
class _Binder:
    """Finds the array of each tensor: leaves as bound, results in the arena, views by strides."""

    arena: npt.NDArray[np.uint8]
    offsets: Mapping[Tensor, int]
    bound: dict[Tensor, Array | HostWeight]

    def array(self, t: Tensor) -> Array:
        found = self.source(t)
        assert isinstance(found, np.ndarray)
        return found

    def operands(self, part: Tensor) -> list[Array | HostWeight]:
        """The sources as its function takes them: weights decoded, unless it reads them by rows."""
        found = [self.source(s) for s in part.srcs]
        stored = found[:1] if part.op in TAKES_STORED_WEIGHT else []
        others = found[len(stored) :]
        return stored + [w.decoded if isinstance(w, HostWeight) else w for w in others]

    def source(self, t: Tensor) -> Array | HostWeight:
        if t not in self.bound:
            self.bound[t] = self._result(t)
        return self.bound[t]

    def _result(self, t: Tensor) -> Array:
        if t.op not in VIEW_OPS and t.base.kind is Kind.CACHE:
            return self.array(t.base)
        if t.op in VIEW_OPS:
            base = self.source(t.base)
            return _strided(base.decoded if isinstance(base, HostWeight) else base, t)
        shape, dtype = _stored_as(t)
        # Parts inside a fused step have no place in the arena: a kernel keeps them in registers.
        if t not in self.offsets:
            return np.empty(shape, dtype)
        start = self.offsets[t]
        return self.arena[start : start + t.n_bytes].view(dtype).reshape(shape)


def _stored_as(t: Tensor) -> tuple[tuple[int, ...], type[np.generic]]:
    """Shape and dtype of the array that holds `t`: of block types, rows of bytes."""
    dtype = NUMPY_DTYPES.get(t.dtype)
    if dtype is not None:
        return t.shape, dtype
    return (*t.shape[:-1], t.dtype.row_bytes(t.shape[-1])), np.uint8


def _strided(base: Array, t: Tensor) -> Array:
    """The view `t` of an array; block types are arrays of bytes, so elements become bytes."""
    per_element = base.itemsize
    if base.dtype == np.uint8:
        unit, block = t.dtype.type_size, t.dtype.block_size
        shape = (*t.shape[:-1], t.dtype.row_bytes(t.shape[-1]))
        strides = (*(s * unit // block for s in t.strides[:-1]), 1)
        start = t.offset * unit // block
    else:
        shape, start = t.shape, t.offset
        strides = tuple(s * per_element for s in t.strides)
    flat = base.reshape(-1)[start:]
    return np.lib.stride_tricks.as_strided(flat, shape, strides)


@dataclass(slots=True)
class ReferenceExecutable:
    """A plan bound to arrays."""

    calls: list[tuple[OpFunction, Tensor, Array, list[Array | HostWeight]]]
    inputs: dict[str, Array]
    outputs: list[Array]

    def __call__(
        self, inputs: Mapping[str, Array], meanwhile: Callable[[], None] | None = None
    ) -> npt.NDArray[np.float32]:
        """Run a step on `inputs` (by leaf name, int32) -> a copy of the first output.

        `meanwhile` is never called: here the host does all the work.
        """
        self._load(inputs)
        for function, t, out, sources in self.calls:
            function(t, out, *sources)
        result: npt.NDArray[np.float32] = self.outputs[0].copy()
        return result

    def timed(self, inputs: Mapping[str, Array], sizes: Sequence[int]) -> list[float]:
        """Run a step on `inputs` -> seconds of groups of `sizes` calls, one after another."""
        self._load(inputs)
        calls, seconds = iter(self.calls), []
        for size in sizes:
            start = perf_counter()
            for function, t, out, sources in islice(calls, size):
                function(t, out, *sources)
            seconds.append(perf_counter() - start)
        return seconds

    def _load(self, inputs: Mapping[str, Array]) -> None:
        for name, values in inputs.items():
            if name in self.inputs:
                self.inputs[name][...] = values
