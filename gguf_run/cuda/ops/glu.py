"""Gated linear units."""

from __future__ import annotations

from gguf_run.cuda.lowering import Lowering, kernel_module, lowering
from gguf_run.cuda.ops.elementwise import launch_elementwise
from gguf_run.cuda.ops.rows import WIDTHS
from gguf_run.graph import GLU_OPS
from gguf_run.plan import Step

GLU = kernel_module("glu.cu", [f"{op}_f32<{w}>" for op in GLU_OPS for w in WIDTHS])


@lowering(*GLU_OPS)
def glu(low: Lowering, step: Step) -> None:
    """act(gate) * up; both may be slices of one row (glu.cu)."""
    out = step.parts[0]
    launch_elementwise(low, GLU, out, *out.srcs)
