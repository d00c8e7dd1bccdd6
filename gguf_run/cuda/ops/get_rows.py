"""get_rows: rows of a table of any type as f32."""

from __future__ import annotations

from gguf_run.cuda.layout import FLOAT_TYPES, LAYOUTS, is_float, layout_of
from gguf_run.cuda.lowering import Lowering, kernel_module, lowering
from gguf_run.plan import Step

BLOCK = 128

FLOAT = kernel_module("get_rows.cu", [f"get_rows_float<{c}>" for c in FLOAT_TYPES.values()])
QUANTISED = {
    name: kernel_module("get_rows.cu", [f"get_rows_quantised<{name}>"]) for name in LAYOUTS
}


@lowering("get_rows")
def get_rows(low: Lowering, step: Step) -> None:
    """table (n, n_col), ids (n_row,) -> (n_row, n_col)."""
    out = step.outputs[-1]
    table, ids = out.srcs
    n_row, n_col = out.shape
    name = table.dtype.name
    operands = [low.at(table), low.at(ids), low.at(out)]
    if is_float(table.dtype):
        low.launch(
            FLOAT,
            f"get_rows_float<{FLOAT_TYPES[name]}>",
            grid=(n_row, -(-n_col // BLOCK)),
            block=BLOCK,
            args=[*operands, n_col, table.strides[0]],
        )
        return
    layout_of(table.dtype)
    low.launch(
        QUANTISED[name],
        f"get_rows_quantised<{name}>",
        grid=(n_row, -(-n_col // (32 * BLOCK))),
        block=BLOCK,
        args=[*operands, n_col // 32],
    )
