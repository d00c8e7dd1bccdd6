"""Gated linear units."""

from __future__ import annotations

import struct

from gguf_run.cuda.lowering import Lowering, kernel_module, lowering
from gguf_run.cuda.ops.elementwise import launch_elementwise
from gguf_run.cuda.ops.rows import WIDTHS
from gguf_run.graph import GLU_OPS, GluParams, Tensor
from gguf_run.plan import Step

SWIGLU_OAI = kernel_module("swiglu_oai.cu", [f"swiglu_oai_f32<{w}>" for w in WIDTHS])
GATES = (*GLU_OPS, "swiglu_oai")
"""As kernels/glu.cuh numbers them."""

GLU = kernel_module("glu.cu", [f"{op}_f32<{w}>" for op in GLU_OPS for w in WIDTHS])


@lowering(*GLU_OPS)
def glu(low: Lowering, step: Step) -> None:
    """act(gate) * up; both may be slices of one row (glu.cu)."""
    out = step.parts[0]
    launch_elementwise(low, GLU, out, *out.srcs)


@lowering("swiglu_oai")
def swiglu_oai(low: Lowering, step: Step) -> None:
    """As `glu`, gate and up limited (swiglu_oai.cu)."""
    out = step.parts[0]
    assert isinstance(out.params, GluParams)
    values = (out.params.alpha, out.params.limit)
    launch_elementwise(low, SWIGLU_OAI, out, *out.srcs, values=values)


def glu_struct(out: Tensor) -> bytes:
    """The struct `Glu` of kernels/glu.cuh."""
    p = out.params
    alpha, limit = (p.alpha, p.limit) if isinstance(p, GluParams) else (0.0, 0.0)
    gate = GATES.index(out.op) if out.op in GATES else 0
    return struct.pack("<i 2f", gate, alpha, limit)
