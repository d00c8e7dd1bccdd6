"""cast: activations to the forms in which products take them."""

from __future__ import annotations

from gguf_run.cuda.lowering import Lowering, kernel_module, lowering
from gguf_run.cuda.ops.rows import require_f32
from gguf_run.graph import F16_SCALED
from gguf_run.plan import Step

CAST = kernel_module("cast.cu", ["cast_q8_1", "cast_f16_scaled"])


@lowering("cast")
def cast(low: Lowering, step: Step) -> None:
    """x (n_tok, n_col) f32, rows with gaps allowed, to F16_SCALED or Q8_1."""
    out = step.outputs[-1]
    x = out.srcs[0]
    require_f32("cast", x)
    n_tok, n_col = x.shape
    args = [low.at(x), low.at(out), n_col, x.strides[0]]
    if out.dtype is F16_SCALED:
        low.launch(CAST, "cast_f16_scaled", grid=n_tok, block=256, args=args)
    else:
        low.launch(CAST, "cast_q8_1", grid=(-(-n_col // 256), n_tok), block=256, args=args)
