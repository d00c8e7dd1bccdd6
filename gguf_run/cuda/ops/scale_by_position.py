"""Queries that grow with their position."""

from __future__ import annotations

from gguf_run.cuda.lowering import Lowering, kernel_module, lowering
from gguf_run.cuda.ops.rows import WIDTHS, Rows, element_blocks, require_f32, width
from gguf_run.graph import TemperatureParams
from gguf_run.plan import Step

SCALE = kernel_module("scale_by_position.cu", [f"scale_by_position_f32<{w}>" for w in WIDTHS])


@lowering("scale_by_position")
def scale_by_position(low: Lowering, step: Step) -> None:
    """x (n_tok, n_head, head_dim), slices allowed (scale_by_position.cu)."""
    out = step.parts[0]
    x, positions = out.srcs
    assert isinstance(out.params, TemperatureParams)
    require_f32("scale_by_position", x)
    n_tok, n_head, n_col = x.shape
    rows = Rows(n_tok * n_head, n_col, n_head, ((x.strides[0], x.strides[1]),))
    n = width(low, rows, (x, out))
    grid, block = element_blocks(rows, n)
    p = out.params
    low.launch(
        SCALE,
        f"scale_by_position_f32<{n}>",
        grid=grid,
        block=block,
        args=[
            *(low.at(t) for t in (x, positions, out)),
            *(rows.n_rows, n_col, n_head),
            *rows.structs(),
            *(p.growth, p.offset, p.length),
        ],
    )
