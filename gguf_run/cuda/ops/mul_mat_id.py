"""mul_mat_id: products with chosen experts, read in place, with the experts' biases behind them."""

from __future__ import annotations

from typing import Any

from gguf_run.cuda.activations import PAIRS, form_of_few
from gguf_run.cuda.capabilities import ALL
from gguf_run.cuda.device import Device
from gguf_run.cuda.layout import FLOAT_TYPES, LAYOUTS, is_float, layout_of
from gguf_run.cuda.lowering import Lowering, accepts, kernel_module, lowering
from gguf_run.cuda.ops.mul_mat import LARGE, Tile, has_large_tiles, rows_per_warp, share_rows
from gguf_run.cuda.ops.mul_mat_id_wgmma import launch_experts
from gguf_run.cuda.ops.rows import Rows
from gguf_run.errors import DeviceError
from gguf_run.graph import F16_SCALED, F16_TILES, F32, Tensor
from gguf_run.plan import Step

TILES = {True: Tile(128, PAIRS, 32, 64, 2), False: Tile(64, PAIRS // 2, 32, 32, 3)}
"""With and without the memory for large tiles; of the small ones, two blocks share a group."""


def _vec_kernel(type_name: str) -> str:
    return f"mul_mat_id_vec_q8_1<{type_name}, {rows_per_warp(type_name)}>"


VEC = {name: kernel_module("mul_mat_id_vec.cu", [_vec_kernel(name)]) for name in LAYOUTS}
VEC_FLOAT = {
    name: kernel_module(
        "mul_mat_id_vec_float.cu", [f"mul_mat_id_vec_f32<{c}, {v}>" for v in (1, 8)]
    )
    for name, c in FLOAT_TYPES.items()
}
MMA = {
    (name, large): kernel_module(
        "mul_mat_id_mma.cu",
        [tile.kernel("mul_mat_id_mma", name)],
        capabilities=LARGE if large else ALL - LARGE,
    )
    for name in ("F16", "BF16", *LAYOUTS)
    for large, tile in TILES.items()
}


@accepts("mul_mat_id_add")
def _adds_f32(device: Device, parts: tuple[Tensor, ...]) -> bool:
    product, total = parts
    return total.srcs[1].dtype is F32 and total.srcs[2] is product.srcs[2]


@lowering("mul_mat_id", "mul_mat_id_add")
def mul_mat_id(low: Lowering, step: Step) -> None:
    """The kernel by the type of w and the form of x (`activations.py`)."""
    product, out = step.parts[0], step.parts[-1]
    w, x, ids = product.srcs[:3]
    add = None if out is product else low.at(out.srcs[1])
    operands = [low.at(w), low.at(x), low.at(ids), add, low.at(out)]
    form = F32 if is_float(w.dtype) else form_of_few(w.dtype)
    if x.dtype is F16_TILES:
        launch_experts(low, product, [low.at(w), None, add, None], out, w.shape[1])
    elif x.dtype is F16_SCALED:
        _launch_mma(low, product, operands)
    elif x.dtype is not form:
        raise DeviceError(
            f"mul_mat_id: {w}: expected activations as {form.name} or {F16_SCALED.name}, found {x}"
        )
    elif form is F32:
        _launch_vec_float(low, product, operands)
    else:
        _launch_vec(low, product, operands)


def _launch_vec(low: Lowering, t: Tensor, operands: list[Any]) -> None:
    w, x, ids = t.srcs[:3]
    name, (_, n_out, n_in) = w.dtype.name, w.shape
    layout_of(w.dtype)
    n_unit, n_chunk, n_pair = -(-n_out // rows_per_warp(name)), n_in // 32, ids.n_elements
    k_split, units = share_rows(n_unit * n_pair, -(-n_chunk // 32), low.device.n_sm)
    low.launch(
        VEC[name],
        _vec_kernel(name),
        grid=(n_pair, -(-n_unit // units)),
        block=(32, units * k_split),
        args=[*operands, n_out, n_chunk, k_split, n_pair // (x.shape[0] * x.shape[1])],
    )


def _launch_vec_float(low: Lowering, t: Tensor, operands: list[Any]) -> None:
    w, x, ids = t.srcs[:3]
    name, (_, n_out, n_in), n_used = w.dtype.name, w.shape, ids.shape[1]
    inner = x.strides[1] if x.shape[1] == n_used else 0
    rows = Rows(ids.n_elements, n_in, n_used, ((x.strides[0], inner),))
    whole = n_in % 8 == 0 and x.strides[0] % 4 == 0 and inner % 4 == 0
    vec = 8 if whole and low.at(x).ptr % 16 == 0 else 1
    n_unit = -(-n_out // 2)
    n_step = -(-n_in // (32 * vec))
    k_split, units = share_rows(n_unit * rows.n_rows, n_step, low.device.n_sm)
    low.launch(
        VEC_FLOAT[name],
        f"mul_mat_id_vec_f32<{FLOAT_TYPES[name]}, {vec}>",
        grid=(rows.n_rows, -(-n_unit // units)),
        block=(32, units * k_split),
        args=[*operands, n_out, n_in, k_split, n_used, *rows.structs()],
    )


def _launch_mma(low: Lowering, t: Tensor, operands: list[Any]) -> None:
    w, x, ids, groups = t.srcs
    name, (_, n_out, n_in) = w.dtype.name, w.shape
    if not is_float(w.dtype):
        layout_of(w.dtype)
    n_row = x.shape[0] * x.shape[1]
    large = has_large_tiles(low.device)
    tile = TILES[large]
    at_w, at_x, _, add, out = operands
    low.launch(
        MMA[name, large],
        tile.kernel("mul_mat_id_mma", name),
        grid=(-(-n_out // tile.rows), groups.shape[0], PAIRS // tile.tokens),
        block=2 * tile.rows,
        args=[
            *(at_w, at_x, low.at(groups), add, out),
            *(n_row, n_out, n_in // 32, ids.n_elements // n_row, PAIRS),
        ],
        shared=tile.shared_bytes,
    )
