"""Functions of each element."""

from __future__ import annotations

from gguf_run.cuda.lowering import Lowering, kernel_module, lowering
from gguf_run.cuda.ops.elementwise import launch_elementwise
from gguf_run.cuda.ops.rows import WIDTHS
from gguf_run.graph import UNARY_OPS, XieluParams
from gguf_run.plan import Step

UNARY = kernel_module("unary.cu", [f"{op}_f32<{w}>" for op in UNARY_OPS for w in WIDTHS])

XIELU = kernel_module("xielu.cu", [f"xielu_f32<{w}>" for w in WIDTHS])


@lowering(*UNARY_OPS)
def unary(low: Lowering, step: Step) -> None:
    """Rows of any stride (unary.cu)."""
    out = step.parts[0]
    launch_elementwise(low, UNARY, out, *out.srcs)


@lowering("xielu")
def xielu(low: Lowering, step: Step) -> None:
    """As `unary`, with the parameters of the function (xielu.cu)."""
    out = step.parts[0]
    p = out.params
    assert isinstance(p, XieluParams)
    values = (p.alpha_n, p.alpha_p, p.beta, p.eps)
    launch_elementwise(low, XIELU, out, *out.srcs, values=values)
