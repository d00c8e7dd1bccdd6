"""Softmax of rows."""

from __future__ import annotations

from gguf_run.cuda.lowering import Lowering, kernel_module, lowering
from gguf_run.cuda.ops.rows import WARPS, WIDTHS, row_blocks, rows_of, warps_per_row, width
from gguf_run.plan import Step

SOFT_MAX = kernel_module("soft_max.cu", [f"soft_max_f32<{n}, {w}>" for n in WARPS for w in WIDTHS])


@lowering("soft_max")
def soft_max(low: Lowering, step: Step) -> None:
    """Rows of any stride and length (soft_max.cu)."""
    out = step.parts[0]
    x = out.srcs[0]
    rows = rows_of(out.op, x)
    n = width(low, rows, (x, out))
    n_warps = warps_per_row(rows.n_col, n)
    grid, block = row_blocks(rows.n_rows, n_warps)
    args = [low.at(x), low.at(out), rows.n_rows, rows.n_col, rows.n_inner, *rows.structs()]
    low.launch(SOFT_MAX, f"soft_max_f32<{n_warps}, {n}>", grid=grid, block=block, args=args)
