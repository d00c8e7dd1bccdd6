"""Sums, products, scaling and soft caps, element by element."""

from __future__ import annotations

from gguf_run.cuda.lowering import Lowering, kernel_module, lowering
from gguf_run.cuda.ops.rows import WIDTHS, element_blocks, rows_of, width
from gguf_run.cuda.source import KernelSource
from gguf_run.graph import ScaleParams, Tensor
from gguf_run.plan import Step

OPS = ("add", "mul", "scale", "softcap", "clamp")
ELEMENTWISE = kernel_module("elementwise.cu", [f"{op}_f32<{w}>" for op in OPS for w in WIDTHS])


@lowering("add", "mul")
def binary(low: Lowering, step: Step) -> None:
    """a + b or a * b, b of a's shape or one row (elementwise.cu)."""
    out = step.parts[0]
    launch_elementwise(low, ELEMENTWISE, out, *out.srcs)


@lowering("scale")
def scale(low: Lowering, step: Step) -> None:
    """x times a factor, plus a number (elementwise.cu)."""
    out = step.parts[0]
    assert isinstance(out.params, ScaleParams)
    values = (out.params.value, out.params.bias)
    launch_elementwise(low, ELEMENTWISE, out, *out.srcs, values=values)


@lowering("softcap", "clamp")
def unary(low: Lowering, step: Step) -> None:
    """x capped, or kept within a limit (elementwise.cu)."""
    out = step.parts[0]
    assert isinstance(out.params, ScaleParams)
    launch_elementwise(low, ELEMENTWISE, out, *out.srcs, values=(out.params.value,))


def launch_elementwise(
    low: Lowering,
    module: KernelSource,
    out: Tensor,
    *sources: Tensor,
    values: tuple[float, ...] = (),
) -> None:
    """Launch the kernel of `out.op` over one or two sources (kernels/elementwise.cuh); `values` are
    the op's parameters."""
    rows = rows_of(out.op, *sources).flat()
    n = width(low, rows, (*sources, out))
    grid, block = element_blocks(rows, n)
    low.launch(
        module,
        f"{out.op}_f32<{n}>",
        grid=grid,
        block=block,
        args=[
            *map(low.at, sources),
            low.at(out),
            rows.n_rows,
            rows.n_col,
            rows.n_inner,
            *rows.structs(),
            *values,
        ],
    )
