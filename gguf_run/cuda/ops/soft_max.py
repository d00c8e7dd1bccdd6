"""Softmax and sums of rows."""

from __future__ import annotations

from collections.abc import Sequence

from gguf_run.cuda.lowering import Lowering, kernel_module, lowering
from gguf_run.cuda.ops.rows import WARPS, WIDTHS, row_blocks, rows_of, warps_per_row, width
from gguf_run.cuda.source import KernelSource
from gguf_run.graph import Tensor
from gguf_run.plan import Step

SOFT_MAX = kernel_module("soft_max.cu", [f"soft_max_f32<{n}, {w}>" for n in WARPS for w in WIDTHS])

SUM_ROWS = kernel_module("sum_rows.cu", [f"sum_rows_f32<{n}, {w}>" for n in WARPS for w in WIDTHS])


@lowering("soft_max")
def soft_max(low: Lowering, step: Step) -> None:
    """Rows of any stride and length (soft_max.cu)."""
    out = step.parts[0]
    _launch(low, SOFT_MAX, out, (out.srcs[0], out))


@lowering("sum_rows")
def sum_rows(low: Lowering, step: Step) -> None:
    """Rows of any stride and length (sum_rows.cu)."""
    out = step.parts[0]
    _launch(low, SUM_ROWS, out, (out.srcs[0],))


def _launch(low: Lowering, module: KernelSource, out: Tensor, in_widths: Sequence[Tensor]) -> None:
    """`in_widths` are read or written in pieces of several elements, where all of them can be."""
    x = out.srcs[0]
    rows = rows_of(out.op, x)
    n = width(low, rows, in_widths)
    n_warps = warps_per_row(rows.n_col, n)
    grid, block = row_blocks(rows.n_rows, n_warps)
    args = [low.at(x), low.at(out), rows.n_rows, rows.n_col, rows.n_inner, *rows.structs()]
    low.launch(module, f"{out.op}_f32<{n_warps}, {n}>", grid=grid, block=block, args=args)
