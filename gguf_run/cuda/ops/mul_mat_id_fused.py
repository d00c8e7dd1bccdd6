"""Products with chosen experts and what stands behind them, for few tokens: gate, up and their
activation, cast for the product that follows; and that one with the experts' weighted sum.

One token's are streamed where the GPU can (stream_experts.py).
"""

from __future__ import annotations

from gguf_run.cuda.device import Device
from gguf_run.cuda.layout import LAYOUTS
from gguf_run.cuda.lowering import Lowering, accepts, kernel_module, lowering
from gguf_run.cuda.ops.expert_parts import Down, GateUp, bias_of
from gguf_run.cuda.ops.glu import glu_struct
from gguf_run.cuda.ops.mul_mat_id_wgmma import launch_experts
from gguf_run.cuda.ops.stream_experts import (
    can_stream_gate_up,
    can_stream_sum,
    stream_gate_up,
    stream_sum,
)
from gguf_run.graph import Q16_1, Tensor
from gguf_run.plan import Step

SUM_ROWS = 8
"""Rows a block of mul_mat_id_sum.cu."""
MAX_WARPS = 16
"""Warps of a block of mul_mat_id_sum.cu."""
LANES = 8


def _glu_kernel(type_name: str) -> str:
    """Four rows of gate and up at a time where chunks are few registers, else fewer."""
    layout = LAYOUTS[type_name]
    small = layout.block_size == 32 and layout.type_size <= 20
    return f"mul_mat_id_glu_q8_1<{type_name}, {4 if small else 1}>"


GLU = {name: kernel_module("mul_mat_id_glu.cu", [_glu_kernel(name)]) for name in LAYOUTS}
SUM = {
    name: kernel_module("mul_mat_id_sum.cu", [f"mul_mat_id_sum_q8_1<{name}, {SUM_ROWS}>"])
    for name in LAYOUTS
}


@accepts("mul_mat_id_glu")
def _takes_gate_up(device: Device, parts: tuple[Tensor, ...]) -> bool:
    p = GateUp.of(parts)
    return p.is_plain(parts) and (p.ids is None or can_stream_gate_up(device, p))


@lowering("mul_mat_id_glu")
def mul_mat_id_glu(low: Lowering, step: Step) -> None:
    """Gate, up and activation of each pair's own expert (mul_mat_id_glu.cu)."""
    p = GateUp.of(step.parts)
    if p.on_wgmma:
        gate = p.products[0]
        return launch_experts(low, gate, [*p.places(low)], p.out, p.n_ff, p.glu)
    if can_stream_gate_up(low.device, p):
        return stream_gate_up(low, p)
    w, x, ids = p.products[0].srcs[:3]
    n_pair, (_, expert_rows, n_in) = ids.n_elements, w.shape
    low.launch(
        GLU[w.dtype.name],
        _glu_kernel(w.dtype.name),
        grid=(n_pair, p.n_ff // 32),
        block=(32, 8),
        args=[
            *(*p.places(low), low.at(x), low.at(ids), low.at(p.out)),
            *(p.n_ff, expert_rows, n_in // 32, n_pair // (x.shape[0] * x.shape[1])),
            int(p.out.dtype is Q16_1),
            glu_struct(p.glu),
        ],
    )


@accepts("mul_mat_id_sum")
def _takes_sum(device: Device, parts: tuple[Tensor, ...]) -> bool:
    p = Down.of(parts)
    return p.is_plain(parts) and p.n_used <= MAX_WARPS


@lowering("mul_mat_id_sum")
def mul_mat_id_sum(low: Lowering, step: Step) -> None:
    """A block for some rows of all experts of a token (mul_mat_id_sum.cu)."""
    p = Down.of(step.parts)
    w, x, ids = p.product.srcs[:3]
    if can_stream_sum(low.device, p):
        return stream_sum(low, p)
    (n_tok, n_used), (_, n_out, n_in) = ids.shape, w.shape
    k_split = 1
    while 2 * k_split * n_used <= MAX_WARPS and n_in // 32 >= 8 * LANES * k_split:
        k_split *= 2
    low.launch(
        SUM[w.dtype.name],
        f"mul_mat_id_sum_q8_1<{w.dtype.name}, {SUM_ROWS}>",
        grid=(-(-n_out // SUM_ROWS), n_tok),
        block=(32, n_used * k_split),
        args=[
            *(low.at(w), bias_of(low, p.biased), low.at(x), low.at(ids), low.at(p.total.srcs[1])),
            *(None if p.residual is None else low.at(p.residual), low.at(p.out)),
            *(n_out, n_in // 32, k_split, 0 if p.residual is None else p.residual.strides[0]),
        ],
    )
