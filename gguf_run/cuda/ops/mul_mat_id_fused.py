"""Products with chosen experts and what stands behind them, for few tokens: gate, up and their
activation, cast for the product that follows; and that one with the experts' weighted sum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gguf_run.cuda.activations import form_of_few
from gguf_run.cuda.device import Device
from gguf_run.cuda.layout import LAYOUTS, is_float
from gguf_run.cuda.lowering import Lowering, accepts, kernel_module, lowering
from gguf_run.cuda.ops.glu import GATES, glu_struct
from gguf_run.fusion import producer
from gguf_run.graph import F32, Q8_1, Q16_1, Tensor
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


def _biased(product: Tensor, parts: tuple[Tensor, ...]) -> Tensor:
    """The product, or its sum with the experts' biases where there is one."""
    found = (t for t in parts if t.op == "add_id" and producer(t.srcs[0]) is product)
    return next(found, product)


def _bias(low: Lowering, t: Tensor) -> Any:
    return low.at(t.srcs[1]) if t.op == "add_id" else None


def _is_quantised(product: Tensor, parts: tuple[Tensor, ...]) -> bool:
    """Whether a product is the vector kernels', and its bias one that they add."""
    w, x, ids = product.srcs[:3]
    total = _biased(product, parts)
    plain = total is product or (total.srcs[1].dtype is F32 and total.srcs[2] is ids)
    return not is_float(w.dtype) and x.dtype is form_of_few(w.dtype) and plain


# Gate and up


@dataclass(frozen=True, slots=True)
class _GateUp:
    """The products, each perhaps with a bias; both are the same where one tensor holds both."""

    gate: Tensor
    up: Tensor
    glu: Tensor
    cast: Tensor

    @property
    def is_joint(self) -> bool:
        return self.gate is self.up

    @property
    def n_ff(self) -> int:
        return self.cast.shape[2]


def _gate_up(parts: tuple[Tensor, ...]) -> _GateUp:
    glu = next(t for t in parts if t.op in GATES)
    gate, up = (producer(s) for s in glu.srcs)
    return _GateUp(gate, up, glu, parts[-1])


@accepts("mul_mat_id_glu")
def _takes_gate_up(device: Device, parts: tuple[Tensor, ...]) -> bool:
    p = _gate_up(parts)
    products = [t for t in parts if t.op == "mul_mat_id"]
    sources = [(t.srcs[1], t.srcs[2], t.srcs[0].dtype, t.srcs[0].shape) for t in products]
    ok = p.cast.dtype in (Q8_1, Q16_1) and p.cast.shape == p.glu.shape and len(set(sources)) == 1
    ok = ok and all(_is_quantised(t, parts) for t in products)
    if not p.is_joint:
        return ok and len(products) == 2 and p.glu.srcs == (p.gate, p.up)
    gate, up = p.glu.srcs
    return ok and (gate.offset, up.offset, 2 * p.n_ff) == (0, p.n_ff, p.gate.shape[2])


@lowering("mul_mat_id_glu")
def mul_mat_id_glu(low: Lowering, step: Step) -> None:
    """Gate, up and activation of each pair's own expert (mul_mat_id_glu.cu)."""
    p = _gate_up(step.parts)
    gate, up = (t.srcs[0] if t.op == "add_id" else t for t in (p.gate, p.up))
    w, x, ids = gate.srcs[:3]
    n_pair, (_, expert_rows, n_in) = ids.n_elements, w.shape
    at_gate, at_up = low.at(w), low.at(up.srcs[0])
    gate_bias, up_bias = _bias(low, p.gate), _bias(low, p.up)
    if p.is_joint:
        at_up = at_up.at(p.n_ff * LAYOUTS[w.dtype.name].row_bytes(n_in))
        up_bias = None if up_bias is None else up_bias.at(4 * p.n_ff)
    low.launch(
        GLU[w.dtype.name],
        _glu_kernel(w.dtype.name),
        grid=(n_pair, p.n_ff // 32),
        block=(32, 8),
        args=[
            *(at_gate, at_up, gate_bias, up_bias, low.at(x), low.at(ids), low.at(p.cast)),
            *(p.n_ff, expert_rows, n_in // 32, n_pair // (x.shape[0] * x.shape[1])),
            int(p.cast.dtype is Q16_1),
            glu_struct(p.glu),
        ],
    )


# Down and the weighted sum


def _total(parts: tuple[Tensor, ...]) -> Tensor:
    return next(t for t in parts if t.op == "moe_sum")


@accepts("mul_mat_id_sum")
def _takes_sum(device: Device, parts: tuple[Tensor, ...]) -> bool:
    product, total, out = parts[0], _total(parts), parts[-1]
    ids = product.srcs[2]
    ok = _is_quantised(product, parts) and total.srcs[0] is _biased(product, parts)
    ok = ok and product.srcs[1].shape[1] == ids.shape[1] <= MAX_WARPS
    ok = ok and total.srcs[1].is_contiguous
    if out is total:
        return ok
    return ok and all(s.shape == total.shape for s in out.srcs) and out.srcs[0] is not out.srcs[1]


@lowering("mul_mat_id_sum")
def mul_mat_id_sum(low: Lowering, step: Step) -> None:
    """A block for some rows of all experts of a token (mul_mat_id_sum.cu)."""
    product, total, out = step.parts[0], _total(step.parts), step.parts[-1]
    w, x, ids = product.srcs[:3]
    (n_tok, n_used), (_, n_out, n_in) = ids.shape, w.shape
    residual = next((s for s in out.srcs if producer(s) is not total), None)
    if out is total:
        residual = None
    k_split = 1
    while 2 * k_split * n_used <= MAX_WARPS and n_in // 32 >= 8 * LANES * k_split:
        k_split *= 2
    low.launch(
        SUM[w.dtype.name],
        f"mul_mat_id_sum_q8_1<{w.dtype.name}, {SUM_ROWS}>",
        grid=(-(-n_out // SUM_ROWS), n_tok),
        block=(32, n_used * k_split),
        args=[
            *(low.at(w), _bias(low, _biased(product, step.parts)), low.at(x), low.at(ids)),
            *(low.at(total.srcs[1]), None if residual is None else low.at(residual), low.at(out)),
            *(n_out, n_in // 32, k_split, 0 if residual is None else residual.strides[0]),
        ],
    )
