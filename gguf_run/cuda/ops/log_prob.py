"""log_prob: the logarithm of a token's probability, from a row of logits."""

from __future__ import annotations

from gguf_run.cuda.device import Device
from gguf_run.cuda.lowering import Lowering, kernel_module, lowering, workspace
from gguf_run.cuda.ops.rows import require_f32
from gguf_run.graph import Tensor
from gguf_run.plan import Step

LOG_PROB = kernel_module("log_prob.cu", ["log_prob_parts_f32", "log_prob_f32"])
PART = 1024
"""Columns that are worth a block of their own."""


def _n_part(device: Device, x: Tensor) -> int:
    return max(1, min(x.shape[1] // PART, device.n_sm))


@workspace("log_prob")
def _parts_bytes(device: Device, parts: tuple[Tensor, ...]) -> int:
    x = parts[0].srcs[0]
    return 8 * x.shape[0] * _n_part(device, x)


@lowering("log_prob")
def log_prob(low: Lowering, step: Step) -> None:
    """Sums of parts of a row by a block each, then one warp a row."""
    out = step.parts[0]
    x, ids = out.srcs
    require_f32(out.op, x)
    n_part, (n_rows, n_col), stride = _n_part(low.device, x), x.shape, x.strides[0]
    parts = low.workspace(step)
    low.launch(
        LOG_PROB,
        "log_prob_parts_f32",
        grid=(n_part, n_rows),
        block=256,
        args=[low.at(x), parts, n_col, stride],
    )
    low.launch(
        LOG_PROB,
        "log_prob_f32",
        grid=n_rows,
        block=32,
        args=[low.at(x), low.at(ids), parts, low.at(out), n_part, stride],
    )
