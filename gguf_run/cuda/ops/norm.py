"""RMS norm and layer norm, alone and with what follows them."""

from __future__ import annotations

from gguf_run.cuda.device import Device
from gguf_run.cuda.lowering import Lowering, kernel_module, lowering, workspace
from gguf_run.cuda.ops.parts import launch_parts, parts_bytes
from gguf_run.cuda.ops.rope import factors_of, heads_per_block, rope_struct, turns_bytes
from gguf_run.cuda.ops.rows import (
    WARPS,
    WIDTHS,
    Rows,
    require_f32,
    row_blocks,
    rows_of,
    warps_per_row,
    width,
)
from gguf_run.graph import NormParams, RopeParams, Tensor
from gguf_run.plan import Step

KERNELS = ("rms_norm_f32", "rms_norm_mul_f32", "norm_f32")
NORM = kernel_module(
    "norm.cu",
    [
        *(f"{kernel}<{n}, {w}>" for kernel in KERNELS for n in WARPS for w in WIDTHS),
        *(f"rms_norm_mul_rope_f32<{w}>" for w in WIDTHS),
    ],
)
HEADS = 4
"""Heads that a block normalises and rotates at a time, a warp each."""
MAX_HEAD = 2048
"""Columns of a head of which four, and their turns, fit the shared memory of every GPU."""


@lowering("rms_norm", "norm")
def norm(low: Lowering, step: Step) -> None:
    """Rows of any stride, normalised (norm.cu)."""
    _launch(low, step.parts[0], step.parts[0])


@lowering("rms_norm_mul")
def rms_norm_mul(low: Lowering, step: Step) -> None:
    """Rows normalised and multiplied by one row (norm.cu); otherwise part by part."""
    if is_weighted(step.parts):
        _launch(low, step.parts[0], step.parts[1], step.parts[1].srcs[1])
    else:
        launch_parts(low, step)


@lowering("rms_norm_mul_rope")
def rms_norm_mul_rope(low: Lowering, step: Step) -> None:
    """Heads normalised, multiplied by one row and rotated (norm.cu); otherwise part by part."""
    if not _is_rotated(step.parts):
        launch_parts(low, step)
        return
    normed, weighted, out = step.parts
    x, w, positions, factors = normed.srcs[0], weighted.srcs[1], out.srcs[1], factors_of(out)
    assert isinstance(normed.params, NormParams)
    assert isinstance(out.params, RopeParams)
    n_tok, n_head, n_col = x.shape
    require_f32(step.op, x, w)
    rows = Rows(n_tok * n_head, n_col, n_head, ((x.strides[0], x.strides[1]),))
    heads = _heads_per_block(low, n_tok * n_head, n_col)
    low.launch(
        NORM,
        f"rms_norm_mul_rope_f32<{width(low, rows, (x,))}>",
        grid=(n_tok, -(-n_head // heads)),
        block=32 * HEADS,
        shared=turns_bytes(out.params) + HEADS * 4 * n_col,
        args=[
            low.at(x),
            low.at(w),
            low.at(positions),
            None if factors is None else low.at(factors),
            low.at(out),
            rope_struct(out.params),
            n_head,
            n_col,
            heads,
            *rows.structs(),
            normed.params.eps,
        ],
    )


@workspace("rms_norm_mul")
def _between_norm_and_mul(device: Device, parts: tuple[Tensor, ...]) -> int:
    return 0 if is_weighted(parts) else parts_bytes(parts)


@workspace("rms_norm_mul_rope")
def _between_norm_and_rope(device: Device, parts: tuple[Tensor, ...]) -> int:
    return 0 if _is_rotated(parts) else parts_bytes(parts)


def is_weighted(parts: tuple[Tensor, ...]) -> bool:
    """Whether the norm's rows, seen as they are, are multiplied by one row."""
    normed, weighted = parts[:2]
    a, b = weighted.srcs
    return a is normed and b is not normed and len(b.shape) == 1


def _is_rotated(parts: tuple[Tensor, ...]) -> bool:
    """Whether the rows are the very heads that are rotated."""
    _, weighted, rotated = parts
    return is_weighted(parts) and rotated.srcs[0] is weighted and rotated.shape[2] <= MAX_HEAD


def _heads_per_block(low: Lowering, n_rows: int, n_col: int) -> int:
    """One round of heads where the device has room for all blocks, else as many as for rope."""
    few = n_rows <= 2 * low.device.n_sm * HEADS
    return HEADS if few else max(HEADS, heads_per_block(n_col))


def _launch(low: Lowering, normed: Tensor, out: Tensor, *weights: Tensor) -> None:
    """Launch the kernel of `normed` over its rows; with a weight, `out` gets the products."""
    x = normed.srcs[0]
    assert isinstance(normed.params, NormParams)
    rows = rows_of(normed.op, x, *weights)
    n = width(low, rows, (x, *weights, out))
    n_warps = warps_per_row(rows.n_col, n)
    grid, block = row_blocks(rows.n_rows, n_warps)
    low.launch(
        NORM,
        f"{normed.op}{'_mul' if weights else ''}_f32<{n_warps}, {n}>",
        grid=grid,
        block=block,
        args=[
            low.at(x),
            *map(low.at, weights),
            low.at(out),
            rows.n_rows,
            rows.n_col,
            rows.n_inner,
            rows.structs()[0],
            normed.params.eps,
        ],
    )
