"""Products of one token in a kernel with what stands around them: norm, biases, gate, residual."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from gguf_run.cuda import tuning
from gguf_run.cuda.activations import form_of_few
from gguf_run.cuda.device import Device
from gguf_run.cuda.layout import LAYOUTS
from gguf_run.cuda.lowering import KERNELS, Lowering, accepts, kernel_module, lowering
from gguf_run.cuda.source import KernelSource
from gguf_run.cuda.tuning import BULK, GENERIC
from gguf_run.cuda.weights import resident_bytes
from gguf_run.graph import F32, GLU_OPS, Kind, NormParams, Tensor
from gguf_run.plan import Step

WARPS = {BULK: 16, GENERIC: 8}
"""Warps of a block that multiply."""
LOADS = {(BULK, True): 2, (BULK, False): 3, (GENERIC, True): 4, (GENERIC, False): 4}
"""Times four activations that a thread has in hand, with and without a norm."""
MAX_STAGES = 12
KINDS = ("norm_mul_mats", "norm_mul_mat", "norm_gate_up", "cast_mul_mat")
"""Fusions, named so in fusion.py."""


FLOATS = {"F16": "Floats<PairF16>", "BF16": "Floats<PairBF16>"}
"""What kernels call the types of numbers that they stream."""


def _kernel(
    name: str, rows: int, norm: bool, generation: str, n_chunk: int = 0, k_split: int = 0
) -> str:
    """The kernel for all shapes, or for rows of `n_chunk` chunks that `k_split` warps share."""
    sizes = f"{WARPS[generation]}, {rows}, {LOADS[generation, norm]}"
    flags = f"{str(norm).lower()}, {str(generation == BULK).lower()}, {n_chunk}, {k_split}"
    return f"stream_mul_mat<{FLOATS.get(name, name)}, {sizes}, {flags}>"


def for_one_shape(name: str, rows: int, norm: bool, n_in: int, k_split: int) -> KernelSource:
    """The kernel of sm_90 on with its shape compiled in. Models have a handful of shapes."""
    kernel = _kernel(name, rows, norm, BULK, n_in // 32, k_split)
    return KernelSource(KERNELS / "stream_mul_mat.cu", (kernel,))


def _rows(generation: str) -> list[int]:
    """Rows a warp: what the table says, halved where there are few."""
    return [1 << i for i in range(tuning.most_rows(generation).bit_length())]


MODULES = {
    (name, norm, generation): kernel_module(
        "stream_mul_mat.cu",
        [_kernel(name, r, norm, generation) for r in _rows(generation)],
        capabilities=tuning.CAPABILITIES[generation],
    )
    for name in (*FLOATS, *LAYOUTS)
    for norm in (True, False)
    for generation in (BULK, GENERIC)
}


@dataclass(frozen=True, slots=True)
class Norm:
    """x * rsqrt(mean(x^2) + eps) * weight."""

    weight: Tensor
    eps: float


@dataclass(frozen=True, slots=True)
class Work:
    """What a group computes (kernels/stream_mul_mat.cu); `glu` is an index into GLU_OPS or -1."""

    x: Tensor
    norm: Norm | None
    weights: Sequence[Tensor]
    outs: Sequence[Tensor]
    biases: Sequence[Tensor | None]
    residual: Tensor | None = None
    glu: int = -1

    @property
    def n_in(self) -> int:
        return self.weights[0].shape[1]

    @property
    def n_row(self) -> int:
        return sum(w.shape[0] for w in self.weights)


@dataclass(frozen=True, slots=True)
class Geometry:
    """Grid, stages and shares of a launch; `shared` bytes hold the stages, activations and sums."""

    rows: int
    k_split: int
    n_stage: int
    in_flight: int
    grid: int
    shared: int


# What a group computes


def _work(parts: tuple[Tensor, ...]) -> Work | None:
    """The group as one launch, or None where it is none that the kernel can do."""
    products = [t for t in parts if t.op == "mul_mat"]
    norm, x = _activations(parts, products[0])
    if x is None or any(p.srcs[1] is not products[0].srcs[1] for p in products):
        return None
    weights = [p.srcs[0] for p in products]
    if not _are_alike(weights) or x.n_elements != weights[0].shape[1]:
        return None
    if parts[-1].op in GLU_OPS:
        gate, up = parts[-1].srcs
        if len(products) != 2 or {gate, up} != set(products):
            return None
        ordered = [gate.srcs[0], up.srcs[0]]
        glu = GLU_OPS.index(parts[-1].op)
        return Work(x, norm, ordered, [parts[-1]], [None, None], glu=glu)
    return _sums(parts, products, x, norm)


def _activations(parts: tuple[Tensor, ...], product: Tensor) -> tuple[Norm | None, Tensor | None]:
    """What a product multiplies, before norm and cast; no tensor where it isn't one plain token."""
    w, x = product.srcs
    norm, shape = None, x.shape
    if w.dtype.name not in FLOATS:
        if x.op != "cast" or x not in parts or x.dtype is not form_of_few(w.dtype):
            return None, None
        x = x.srcs[0]
    if x in parts:
        if x.op != "mul":
            return None, None
        normed, weight = x.srcs
        if normed not in parts:
            normed, weight = weight, normed
        if normed not in parts or weight.kind is not Kind.WEIGHT or len(weight.shape) != 1:
            return None, None
        assert isinstance(normed.params, NormParams)
        norm, x = Norm(weight, normed.params.eps), normed.srcs[0]
        if normed.shape != shape:
            return None, None
    plain = _is_one_row(x) and x.offset % 4 == 0 and x.n_elements % 32 == 0
    return (norm, x) if plain and shape[0] == 1 else (None, None)


def _is_one_row(t: Tensor) -> bool:
    """Whether all elements of a tensor follow each other."""
    no_gaps = t.is_contiguous or (t.shape[:-1] == (1,) and t.strides[-1] == 1)
    return t.dtype is F32 and no_gaps


def _are_alike(weights: Sequence[Tensor]) -> bool:
    first = weights[0]
    return (first.dtype.name in LAYOUTS or first.dtype.name in FLOATS) and all(
        w.dtype is first.dtype and w.shape[1] == first.shape[1] for w in weights
    )


def _sums(
    parts: tuple[Tensor, ...], products: Sequence[Tensor], x: Tensor, norm: Norm | None
) -> Work | None:
    """The products with a bias each; one that stands alone may get a residual, too."""
    outs = list(products)
    biases: list[Tensor | None] = [None] * len(products)
    residual: Tensor | None = None
    for add in (t for t in parts if t.op == "add"):
        i = next((i for i, out in enumerate(outs) if out in add.srcs), None)
        if i is None or residual is not None or add.shape != outs[i].shape:
            return None
        other = add.srcs[1] if add.srcs[0] is outs[i] else add.srcs[0]
        if other is outs[i]:
            return None
        is_row = other.kind is Kind.WEIGHT and len(other.shape) == 1
        if is_row and biases[i] is None:
            biases[i] = other
        elif len(outs) == 1 and _is_one_row(other) and not is_row:
            residual = other
        else:
            return None
        outs[i] = add
    return Work(x, norm, [p.srcs[0] for p in products], outs, biases, residual)


# How it runs


def _key(device: Device, kind: str, work: Work) -> tuning.StreamKey:
    n_bytes = sum(map(resident_bytes, work.weights))
    return tuning.stream_key(device, kind, work.weights[0].dtype.name, n_bytes)


def tuning_key(device: Device, step: Step) -> tuning.StreamKey | None:
    """What a step's launch is in the tuning table; None for steps of other kinds."""
    work = _work(step.parts) if step.op in KINDS else None
    return None if work is None else _key(device, step.op, work)


def _geometry(device: Device, kind: str, work: Work) -> Geometry | None:
    """The launch by the table, cut down where the rows are few or long; None where none fits."""
    choice = tuning.stream(_key(device, kind, work))
    generation = tuning.generation(device)
    warps = WARPS[generation]
    dtype = work.weights[0].dtype
    is_float = dtype.name in FLOATS
    row = (F32 if is_float else form_of_few(dtype)).row_bytes(work.n_in)
    row = -(-row // 16) * 16
    n_piece, pair = work.n_in // (8 if is_float else 32), 2 if work.glu >= 0 else 1
    row_bytes = (dtype if is_float else LAYOUTS[dtype.name]).row_bytes(work.n_in)
    n_unit = work.n_row // pair
    grid = min(device.n_sm * choice.per_sm, n_unit)
    units = -(-n_unit // grid)
    k_split = choice.k_split
    while k_split > 1 and n_piece <= 16 * k_split:
        k_split //= 2
    k_split = min(k_split, warps // pair)
    fixed = row + 4 * pair * units * k_split
    room = min(device.max_shared - 1024 - fixed, choice.stage_bytes)
    rows = choice.rows
    while rows > 1 and warps * rows // 2 >= k_split * units * pair:
        rows //= 2
    if generation == GENERIC:
        return Geometry(rows, k_split, 0, 0, grid, fixed) if room >= 0 else None
    while rows > 1 and 3 * warps * rows // k_split * row_bytes > room:
        rows //= 2
    while k_split < warps // pair and warps * rows // k_split * row_bytes > room:
        k_split *= 2
    tile_bytes = warps * rows // k_split * row_bytes
    fixed = row + 4 * pair * units * k_split
    # Tiles end where a weight does.
    n_tile = -(-units * pair * k_split // (warps * rows)) + len(work.weights) - 1
    n_stage = min(n_tile, MAX_STAGES, room // tile_bytes)
    shared = n_stage * tile_bytes + fixed
    if n_stage < 1 or shared > device.max_shared - 1024:
        return None
    in_flight = min(n_stage, max(2, choice.in_flight_bytes // tile_bytes))
    return Geometry(rows, k_split, n_stage, in_flight, grid, shared)


def _accepts(kind: str, device: Device, parts: tuple[Tensor, ...]) -> bool:
    work = _work(parts)
    return work is not None and _geometry(device, kind, work) is not None


for _kind in KINDS:
    accepts(_kind)(partial(_accepts, _kind))


@lowering(*KINDS)
def stream_mul_mat(low: Lowering, step: Step) -> None:
    """One launch for the whole group (stream_mul_mat.cu)."""
    work = _work(step.parts)
    assert work is not None
    choice = tuning.stream(_key(low.device, step.op, work))
    generation = tuning.generation(low.device)
    g = _geometry(low.device, step.op, work)
    assert g is not None
    norm = work.norm is not None
    name = work.weights[0].dtype.name
    module = MODULES[name, norm, generation]
    kernel = _kernel(name, g.rows, norm, generation)
    if low.device.compiles_shapes and generation == BULK:
        module = for_one_shape(name, g.rows, norm, work.n_in, g.k_split)
        (kernel,) = module.names
    low.launch(
        module,
        kernel,
        grid=g.grid,
        block=32 * (WARPS[generation] + (generation == BULK)),
        shared=g.shared,
        pdl=generation == BULK,
        args=[
            low.at(work.x),
            *((low.at(work.norm.weight), work.norm.eps) if work.norm else (None, 0.0)),
            1 / work.n_in,
            work.n_in // 32,
            *_three(low, work.weights),
            *_three(low, work.biases),
            None if work.residual is None else low.at(work.residual),
            *_three(low, work.outs),
            *_sizes(work),
            work.glu,
            g.k_split.bit_length() - 1,
            g.n_stage,
            g.in_flight,
            choice.trigger,
        ],
    )


def _three(low: Lowering, tensors: Sequence[Tensor | None]) -> list[Any]:
    found = [None if t is None else low.at(t) for t in tensors]
    return found + [None] * (3 - len(found))


def _sizes(work: Work) -> list[int]:
    sizes = [w.shape[0] for w in work.weights]
    return sizes + [0] * (3 - len(sizes))
