"""sample: tokens drawn by a chain of samplers."""

from __future__ import annotations

from gguf_run.cuda.device import Device
from gguf_run.cuda.lowering import Lowering, kernel_module, lowering, workspace
from gguf_run.cuda.ops.rows import require_f32
from gguf_run.errors import DeviceError
from gguf_run.graph import Tensor
from gguf_run.plan import Step

SAMPLE = kernel_module("sample.cu", ["sample_parts_f32", "sample_draw"])
SAMPLE_ALL = kernel_module(
    "sample_all.cu", ["sample_all_best", "sample_all_sums", "sample_all_draw"]
)
PART = 2048
"""Columns of a block of sample.cuh."""
MAX_PART = 2048
"""Parts of a row of sample_all.cu."""
KEY_BYTES = 8


def _n_part(x: Tensor) -> int:
    return -(-x.shape[1] // PART)


@workspace("sample")
def _kept_bytes(device: Device, parts: tuple[Tensor, ...]) -> int:
    x = parts[0].srcs[0]
    return x.shape[0] * _n_part(x) * (PART * KEY_BYTES + 4)


@lowering("sample")
def sample(low: Lowering, step: Step) -> None:
    """A block for each part of a row keeps its highest, then a block a row draws (sample.cu)."""
    out = step.parts[0]
    x, bias, counts, sampler, draw = out.srcs
    require_f32(out.op, x, bias, sampler)
    n_rows, n_part = x.shape[0], _n_part(x)
    kept = low.workspace(step)
    n_kept = kept.at(n_rows * n_part * PART * KEY_BYTES)
    low.launch(
        SAMPLE,
        "sample_parts_f32",
        grid=(n_part, n_rows),
        block=256,
        args=[
            *(low.at(t) for t in (x, bias, counts, sampler)),
            *(kept, n_kept, x.shape[1], x.strides[0]),
        ],
    )
    low.launch(
        SAMPLE,
        "sample_draw",
        grid=n_rows,
        block=1024,
        args=[kept, n_kept, low.at(sampler), low.at(draw), low.at(out), n_part],
        pdl=low.device.capability >= 90,
    )


@workspace("sample_all")
def _sums_bytes(device: Device, parts: tuple[Tensor, ...]) -> int:
    x = parts[0].srcs[0]
    return 2 * KEY_BYTES * x.shape[0] * _n_part(x)


@lowering("sample_all")
def sample_all(low: Lowering, step: Step) -> None:
    """The highest of each part, the weights of each part, then a block a row draws."""
    out = step.parts[0]
    x, bias, counts, sampler, draw = out.srcs
    require_f32(out.op, x, bias, sampler)
    n_rows, n_part = x.shape[0], _n_part(x)
    if n_part > MAX_PART:
        raise DeviceError(f"sample_all: expected at most {MAX_PART * PART} columns, found {x}")
    best = low.workspace(step)
    sums = best.at(n_rows * n_part * KEY_BYTES)
    logits, shape = [low.at(t) for t in (x, bias, counts, sampler)], [x.shape[1], x.strides[0]]
    launches = (
        ("best", (n_part, n_rows), [*logits, best, *shape]),
        ("sums", (n_part, n_rows), [*logits, best, sums, *shape]),
        ("draw", n_rows, [*logits, best, sums, low.at(draw), low.at(out), *shape, n_part]),
    )
    for name, grid, args in launches:
        pdl = low.device.capability >= 90 and name != "best"
        low.launch(SAMPLE_ALL, f"sample_all_{name}", grid=grid, block=256, args=args, pdl=pdl)
