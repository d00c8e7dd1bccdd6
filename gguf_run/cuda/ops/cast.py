"""cast: activations to the forms in which products take them."""

from __future__ import annotations

from gguf_run.cuda.activations import WGMMA_CAPABILITIES
from gguf_run.cuda.lowering import Lowering, kernel_module, lowering
from gguf_run.cuda.ops.cast_rows import can_cast, launch_cast
from gguf_run.cuda.ops.rows import rows_of
from gguf_run.graph import F16_PAIR, F16_SCALED, F16_TILES, Q8_1, Q16_1
from gguf_run.plan import Step

BLOCKS = {Q8_1: "cast_blocks<false>", Q16_1: "cast_blocks<true>"}
ROWS = {F16_SCALED: "cast_f16<false>", F16_PAIR: "cast_f16<true>"}
CAST = kernel_module("cast.cu", [*BLOCKS.values(), *ROWS.values()])
TILES = kernel_module("cast.cu", ["cast_tiles"], capabilities=WGMMA_CAPABILITIES)


@lowering("cast")
def cast(low: Lowering, step: Step) -> None:
    """x (..., n_col) f32, rows of any stride, to one of CAST_FORMS."""
    out = step.outputs[-1]
    x = out.srcs[0]
    rows = rows_of("cast", x)
    args = [low.at(x), low.at(out), rows.n_col, rows.n_inner, *rows.structs()]
    if out.dtype is F16_SCALED and can_cast(low.device, out, x):
        launch_cast(low, out)
    elif out.dtype is F16_TILES:
        low.launch(TILES, "cast_tiles", grid=rows.n_rows, block=256, args=args)
    elif out.dtype in ROWS:
        low.launch(CAST, ROWS[out.dtype], grid=rows.n_rows, block=256, args=args)
    else:
        grid = (rows.n_rows, -(-rows.n_col // 256))
        low.launch(CAST, BLOCKS[out.dtype], grid=grid, block=256, args=args)
