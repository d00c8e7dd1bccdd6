"""Heads side by side."""

from __future__ import annotations

from gguf_run.cuda.lowering import Lowering, kernel_module, lowering
from gguf_run.cuda.ops.rows import WIDTHS, Rows, element_blocks, require_f32, width
from gguf_run.plan import Step

CONCAT = kernel_module("concat.cu", [f"concat_f32<{w}>" for w in WIDTHS])


@lowering("concat")
def concat(low: Lowering, step: Step) -> None:
    """a and b may be slices; b may be one row for all heads (concat.cu)."""
    out = step.parts[0]
    a, b = out.srcs
    require_f32("concat", a, b)
    n_tok, n_head, n_a = a.shape
    of_b = (b.strides[0], b.strides[1] if b.shape[1] == n_head else 0)
    strides = ((a.strides[0], a.strides[1]), of_b)
    rows = Rows(n_tok * n_head, n_a + b.shape[2], n_head, strides)
    n = width(low, rows, (a, b, out)) if n_a % 4 == 0 else 1
    grid, block = element_blocks(rows, n)
    low.launch(
        CONCAT,
        f"concat_f32<{n}>",
        grid=grid,
        block=block,
        args=[
            *(low.at(t) for t in (a, b, out)),
            *(rows.n_rows, n_a, b.shape[2], n_head),
            *rows.structs(),
        ],
    )
