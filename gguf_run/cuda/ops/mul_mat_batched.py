"""mul_mat_batched: a product a head, of few and of many tokens."""

from __future__ import annotations

from typing import Any

from gguf_run.cuda.activations import MAX_FEW, form_of_few
from gguf_run.cuda.layout import FLOAT_TYPES, LAYOUTS, is_float, layout_of
from gguf_run.cuda.lowering import Lowering, kernel_module, lowering
from gguf_run.cuda.ops.mul_mat import (
    FEW,
    VEC,
    VEC_FLOAT,
    Tile,
    rows_per_warp,
    share_rows,
    vec_float_kernel,
    vec_kernel,
)
from gguf_run.cuda.ops.rows import Rows
from gguf_run.errors import DeviceError
from gguf_run.graph import F16_SCALED, F32, Tensor
from gguf_run.plan import Step

TILE = Tile(64, 64, 32, 32, 3)


MMA = {
    name: kernel_module("mul_mat_batched_mma.cu", [TILE.kernel("mul_mat_batched_mma", name)])
    for name in ("F16", "BF16", *LAYOUTS)
}
TILE_F32 = kernel_module(
    "mul_mat_batched_tile.cu", [f"mul_mat_batched_f32<{c}>" for c in FLOAT_TYPES.values()]
)


@lowering("mul_mat_batched")
def mul_mat_batched(low: Lowering, step: Step) -> None:
    """The kernel by the type of w, the form of x (`activations.py`) and the number of tokens."""
    t = step.parts[0]
    w, x = t.srcs
    operands = [low.at(w), low.at(x), low.at(t)]
    form = F32 if is_float(w.dtype) else form_of_few(w.dtype)
    if x.dtype is F16_SCALED:
        _launch_mma(low, t, operands)
    elif x.dtype is not form or (form is not F32 and x.shape[0] > MAX_FEW):
        raise DeviceError(
            f"mul_mat_batched: {w}: expected activations as {form.name} (few tokens) or "
            f"{F16_SCALED.name}, found {x}"
        )
    elif form is not F32:
        _launch_vec(low, t, operands)
    elif x.shape[0] <= MAX_FEW:
        _launch_vec_float(low, t, operands)
    else:
        _launch_tile(low, t, operands)


def _few(n_tok: int) -> int:
    return next(n for n in FEW if n_tok <= n)


def _strides(x: Tensor) -> Rows:
    return Rows(x.shape[0] * x.shape[1], x.shape[2], x.shape[1], ((x.strides[0], x.strides[1]),))


def _launch_vec(low: Lowering, t: Tensor, operands: list[Any]) -> None:
    w, x = t.srcs
    layout_of(w.dtype)
    name, few, (n_head, n_out, n_in) = w.dtype.name, _few(x.shape[0]), w.shape
    w_at, x_at, y_at = operands
    n_unit, n_chunk = -(-n_out // rows_per_warp(name)), n_in // 32
    k_split, units = share_rows(n_unit * n_head, -(-n_chunk // 32), low.device.n_sm)
    low.launch(
        VEC[name],
        vec_kernel(name, few),
        grid=(-(-n_unit // units), n_head),
        block=(32, units * k_split),
        args=[w_at, x_at, None, y_at, x.shape[0], n_out, n_chunk, k_split, 0],
    )


def _launch_vec_float(low: Lowering, t: Tensor, operands: list[Any]) -> None:
    w, x = t.srcs
    w_at, x_at, y_at = operands
    name, (n_head, n_out, n_in) = w.dtype.name, w.shape
    whole = n_in % 8 == 0 and not any(s % 4 for s in x.strides[:2])
    vec = 8 if whole and x_at.ptr % 16 == 0 else 1
    n_unit = -(-n_out // 2)
    k_split, units = share_rows(n_unit * n_head, -(-n_in // (32 * vec)), low.device.n_sm)
    low.launch(
        VEC_FLOAT[name],
        vec_float_kernel(name, _few(x.shape[0]), vec),
        grid=(-(-n_unit // units), n_head),
        block=(32, units * k_split),
        args=[w_at, x_at, None, y_at, x.shape[0], n_out, n_in, *x.strides[:2], k_split, 0],
    )


def _launch_mma(low: Lowering, t: Tensor, operands: list[Any]) -> None:
    w, x = t.srcs
    name, (n_head, n_out, n_in) = w.dtype.name, w.shape
    if not is_float(w.dtype):
        layout_of(w.dtype)
    low.launch(
        MMA[name],
        TILE.kernel("mul_mat_batched_mma", name),
        grid=(-(-n_out // TILE.rows), -(-x.shape[0] // TILE.tokens), n_head),
        block=2 * TILE.rows,
        args=[*operands, x.shape[0], n_out, n_in // 32],
        shared=TILE.shared_bytes,
    )


def _launch_tile(low: Lowering, t: Tensor, operands: list[Any]) -> None:
    w, x = t.srcs
    n_head, n_out, n_in = w.shape
    low.launch(
        TILE_F32,
        f"mul_mat_batched_f32<{FLOAT_TYPES[w.dtype.name]}>",
        grid=(-(-n_out // 64), -(-x.shape[0] // 128), n_head),
        block=256,
        args=[*operands, x.shape[0], n_out, n_in, *_strides(x).structs()],
    )
