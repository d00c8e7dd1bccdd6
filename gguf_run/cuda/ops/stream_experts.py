"""One token's products with chosen experts, streamed through shared memory, on GPUs with bulk
copies: gate, up and their activation; the last product, its activations cast, and the weighted sum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gguf_run.cuda import tuning
from gguf_run.cuda.activations import form_of_few
from gguf_run.cuda.device import Device
from gguf_run.cuda.layout import LAYOUTS
from gguf_run.cuda.lowering import Lowering, kernel_module
from gguf_run.cuda.ops.expert_parts import Down, GateUp, bias_of
from gguf_run.cuda.ops.glu import glu_struct
from gguf_run.cuda.ops.moe import MAX_USED, router_fits, router_struct
from gguf_run.graph import F32, Q16_1, RouterParams, Tensor

GLU_WARPS = 8
"""Warps of a block of mul_mat_id_glu_stream.cu."""
SUM_WARPS = 8
"""Warps of a block of mul_mat_id_sum_stream.cu, where there are fewer experts."""
MAX_SUM_WARPS = 16
WARP_STAGES = 8
STATIC_BYTES = 8 << 10
"""Of shared memory, that the kernels have besides what they are given, at most."""
STAGE_BYTES = {"mul_mat_id_glu": 40 << 10, "mul_mat_id_sum": 96 << 10}
"""Of a block's shared memory that hold weights (measured on an H200)."""
ROWS = 16
"""Rows a warp of mul_mat_id_sum_stream.cu has at a time, of small chunks."""


def _is_small(type_name: str) -> bool:
    """Whether chunks of a type take few registers."""
    layout = LAYOUTS[type_name]
    return layout.block_size == 32 and layout.type_size <= 20


def _units(type_name: str) -> int:
    """Pairs of rows that a warp of mul_mat_id_glu_stream.cu has at a time."""
    return 2 if _is_small(type_name) else 1


def _rows(type_name: str) -> int:
    return ROWS if _is_small(type_name) else ROWS // 2


def _glu_kernel(type_name: str) -> str:
    return f"mul_mat_id_glu_stream<{type_name}, {_units(type_name)}>"


GLU = {
    name: kernel_module(
        "mul_mat_id_glu_stream.cu",
        [_glu_kernel(name)],
        capabilities=tuning.CAPABILITIES[tuning.BULK],
    )
    for name in LAYOUTS
}
SUM = {
    name: kernel_module(
        "mul_mat_id_sum_stream.cu",
        [f"mul_mat_id_sum_stream<{name}, {_rows(name)}>"],
        capabilities=tuning.CAPABILITIES[tuning.BULK],
    )
    for name in LAYOUTS
}


@dataclass(frozen=True, slots=True)
class _Geometry:
    """Blocks, warps of each, rows of a tile (or pairs of rows), stages a warp, shared memory."""

    grid: int
    n_warp: int
    rows: int
    n_stage: int
    shared: int


def _geometry(
    device: Device, kind: str, grid: int, n_warp: int, rows: int, n_tile: int, tile: int, fixed: int
) -> _Geometry | None:
    """As many stages as the table has room for; None where there is none for a tile a warp."""
    most = device.max_shared - STATIC_BYTES - fixed
    room = min(most, STAGE_BYTES[kind])
    n_stage = min(n_tile, WARP_STAGES, max(1, room // (n_warp * tile)))
    shared = n_stage * n_warp * tile + fixed
    if shared > most + fixed:
        return None
    return _Geometry(grid, n_warp, rows, n_stage, shared)


def _is_one_token(x: Tensor) -> bool:
    return x.shape[0] == 1 and x.is_contiguous and x.offset % 4 == 0


# Gate and up


def _glu_geometry(device: Device, p: GateUp) -> _Geometry | None:
    w, x, ids = p.products[0].srcs[:3]
    layout, units = LAYOUTS[w.dtype.name], _units(w.dtype.name)
    tile = 2 * units * layout.row_bytes(x.shape[-1])
    fixed = 16 + x.dtype.row_bytes(x.shape[-1])
    grid, n_tile = ids.n_elements * p.n_ff // 32, 32 // (GLU_WARPS * units)
    return _geometry(device, "mul_mat_id_glu", grid, GLU_WARPS, units, n_tile, tile, fixed)


def can_stream_gate_up(device: Device, p: GateUp) -> bool:
    """Whether it is one token's, on a GPU that can."""
    _, x, ids = p.products[0].srcs[:3]
    if p.ids is not None and p.weights is not None:
        logits = p.ids.srcs[0]
        if logits.dtype is not F32 or not _is_one_token(logits) or p.ids.params != p.weights.params:
            return False
        assert isinstance(p.ids.params, RouterParams)
        if not router_fits(p.ids.params, logits.shape[1]):
            return False
    elif ids.n_elements > MAX_USED:
        return False
    ok = tuning.generation(device) == tuning.BULK and _is_one_token(x) and x.shape[1] == 1
    return ok and _glu_geometry(device, p) is not None


def stream_gate_up(low: Lowering, p: GateUp) -> None:
    """A block for 32 pairs of rows of an expert (mul_mat_id_glu_stream.cu)."""
    w, x, ids = p.products[0].srcs[:3]
    g = _glu_geometry(low.device, p)
    assert g is not None
    params, n_expert = RouterParams(1), 0
    if p.ids is not None:
        assert isinstance(p.ids.params, RouterParams)
        params, n_expert = p.ids.params, p.ids.srcs[0].shape[1]
    low.launch(
        GLU[w.dtype.name],
        _glu_kernel(w.dtype.name),
        grid=g.grid,
        block=32 * g.n_warp,
        shared=g.shared,
        pdl=True,
        args=[
            *(*p.places(low), low.at(x)),
            *_choice(low, p),
            low.at(p.out),
            *(ids.n_elements, p.n_ff, w.shape[1], w.shape[2] // 32, g.n_stage),
            int(p.out.dtype is Q16_1),
            glu_struct(p.glu),
            router_struct(params, n_expert),
        ],
    )


def _choice(low: Lowering, p: GateUp) -> list[Any]:
    """Logits, their bias, ids and weights, as the kernel takes them."""
    if p.ids is None or p.weights is None:
        return [None, None, low.at(p.products[0].srcs[2]), None]
    logits = p.ids.srcs[0]
    bias = low.at(p.ids.srcs[1]) if len(p.ids.srcs) > 1 else None
    return [low.at(logits), bias, low.at(p.ids), low.at(p.weights)]


# Down and the weighted sum


def _sum_geometry(device: Device, p: Down) -> _Geometry | None:
    w = p.product.srcs[0]
    _, n_out, n_in = w.shape
    grid = min(device.n_sm, n_out)
    n_row = -(-n_out // grid)
    n_warp = p.n_used * max(1, SUM_WARPS // p.n_used)
    of_warp = -(-n_row * p.n_used // n_warp)
    rows = min(_rows(w.dtype.name), of_warp)
    tile = rows * LAYOUTS[w.dtype.name].row_bytes(n_in)
    fixed = 16 + p.n_used * (form_of_few(w.dtype).row_bytes(n_in) + 4 * n_row)
    return _geometry(device, "mul_mat_id_sum", grid, n_warp, rows, -(-of_warp // rows), tile, fixed)


def can_stream_sum(device: Device, p: Down) -> bool:
    """Whether it is one token's, on a GPU that can."""
    x = p.product.srcs[1]
    ok = tuning.generation(device) == tuning.BULK and _is_one_token(x)
    ok = ok and p.n_used <= MAX_SUM_WARPS
    ok = ok and (p.residual is None or p.residual.is_contiguous)
    return ok and _sum_geometry(device, p) is not None


def stream_sum(low: Lowering, p: Down) -> None:
    """An even share of the rows of all experts for each block (mul_mat_id_sum_stream.cu)."""
    (w, x, ids), weights = p.product.srcs[:3], p.total.srcs[1]
    g = _sum_geometry(low.device, p)
    assert g is not None
    low.launch(
        SUM[w.dtype.name],
        f"mul_mat_id_sum_stream<{w.dtype.name}, {_rows(w.dtype.name)}>",
        grid=g.grid,
        block=32 * g.n_warp,
        shared=g.shared,
        pdl=True,
        args=[
            *(low.at(w), bias_of(low, p.biased), low.at(x), low.at(ids)),
            *(low.at(weights), None if p.residual is None else low.at(p.residual), low.at(p.out)),
            *(*w.shape[:2], w.shape[2] // 32, p.n_used, g.rows, g.n_stage),
        ],
    )
