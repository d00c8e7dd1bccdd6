"""Mixtures of experts around their products: the router, pairs by expert, biases, weighted sums."""

from __future__ import annotations

import struct
from typing import Any

from gguf_run.cuda.device import Device
from gguf_run.cuda.lowering import Lowering, accepts, kernel_module, lowering
from gguf_run.cuda.ops.rows import WIDTHS, Rows, element_blocks, require_f32, rows_of, width
from gguf_run.errors import DeviceError
from gguf_run.fusion import producer
from gguf_run.graph import Gating, GroupParams, RouterParams, Tensor
from gguf_run.plan import Step

PER_LANE = (2, 4, 8, 16)
"""Logits a lane of the router's kernels."""
MAX_USED = 32
MAX_GROUPS = 32
TOKENS = 8
"""Tokens a block of the router."""
LEAST_SUM = 2.0**-14
"""Weights are divided by no smaller sum (the least normal f16)."""

ROUTER = kernel_module(
    "moe_router.cu",
    [f"{op}_f32<{n}>" for op in ("moe_router", "moe_ids", "moe_weights") for n in PER_LANE],
)
GROUP = kernel_module("moe_group.cu", ["moe_group"])
SUM = kernel_module("moe_sum.cu", [f"moe_sum_f32<{w}>" for w in WIDTHS])
ADD_ID = kernel_module("add_id.cu", [f"add_id_f32<{w}>" for w in WIDTHS])


@lowering("moe_ids")
def moe_ids(low: Lowering, step: Step) -> None:
    """The experts of each token (moe_router.cu)."""
    ids = step.parts[0]
    _launch_router(low, ids, "moe_ids", [_bias(low, ids), low.at(ids)])


@lowering("moe_weights")
def moe_weights(low: Lowering, step: Step) -> None:
    """The weights of the chosen experts (moe_router.cu)."""
    weights = step.parts[0]
    _launch_router(low, weights, "moe_weights", [low.at(weights.srcs[1]), low.at(weights)])


@lowering("moe_router")
def moe_router(low: Lowering, step: Step) -> None:
    """Both at once (moe_router.cu)."""
    ids, weights = step.parts
    assert ids.params == weights.params, f"{ids} and {weights} are not of one router"
    _launch_router(low, ids, "moe_router", [_bias(low, ids), low.at(ids), low.at(weights)])


def _bias(low: Lowering, ids: Tensor) -> Any:
    if len(ids.srcs) == 1:
        return None
    return low.at(ids.srcs[1])


def _launch_router(low: Lowering, t: Tensor, op: str, operands: list[Any]) -> None:
    logits, p = t.srcs[0], t.params
    assert isinstance(p, RouterParams)
    require_f32(op, logits)
    n_tok, n_expert = logits.shape
    if not router_fits(p, n_expert):
        raise DeviceError(
            f"{op}: expected at most {32 * PER_LANE[-1]} experts in at most {MAX_GROUPS} groups, "
            f"{MAX_USED} of them used, found {n_expert} for {p}"
        )
    per_lane = next(n for n in PER_LANE if n_expert <= 32 * n)
    rows = min(n_tok, TOKENS)
    low.launch(
        ROUTER,
        f"{op}_f32<{per_lane}>",
        grid=-(-n_tok // rows),
        block=(32, rows),
        args=[low.at(logits), *operands, n_tok, logits.strides[0], router_struct(p, n_expert)],
    )


def router_fits(p: RouterParams, n_expert: int) -> bool:
    """Whether the kernels can choose so among so many experts."""
    return n_expert <= 32 * PER_LANE[-1] and p.n_used <= MAX_USED and p.n_group <= MAX_GROUPS


def router_struct(p: RouterParams, n_expert: int) -> bytes:
    """The struct `Router` of kernels/moe_router.cuh."""
    gating = list(Gating).index(p.gating)
    sizes = (n_expert, p.n_used, gating, p.normalise, p.n_group, p.n_group_used)
    return struct.pack("<6i 2f", *sizes, p.scale, LEAST_SUM)


@lowering("moe_group")
def moe_group(low: Lowering, step: Step) -> None:
    """Pairs by expert (moe_group.cu)."""
    out = step.parts[0]
    ids, p = out.srcs[0], out.params
    assert isinstance(p, GroupParams)
    low.launch(
        GROUP,
        "moe_group",
        grid=p.n_expert,
        block=512,
        shared=4 * p.n_expert,
        args=[low.at(ids), low.at(out), ids.n_elements, out.shape[0], p.size],
    )


@lowering("add_id")
def add_id(low: Lowering, step: Step) -> None:
    """Each expert's bias to its rows (add_id.cu)."""
    out = step.parts[0]
    x, biases, ids = out.srcs
    require_f32("add_id", x, biases)
    rows = rows_of("add_id", x)
    n = width(low, rows, (x, biases, out))
    grid, block = element_blocks(rows, n)
    low.launch(
        ADD_ID,
        f"add_id_f32<{n}>",
        grid=grid,
        block=block,
        args=[
            *(low.at(t) for t in (x, biases, ids, out)),
            *(rows.n_rows, rows.n_col, rows.n_inner),
            *rows.structs(),
        ],
    )


@accepts("moe_sum_add")
def _adds_a_row_each(device: Device, parts: tuple[Tensor, ...]) -> bool:
    total, out = parts
    return all(s.shape == total.shape for s in (*out.srcs, out)) and out.srcs[0] is not out.srcs[1]


@lowering("moe_sum", "moe_sum_add")
def moe_sum(low: Lowering, step: Step) -> None:
    """The experts' results by their weights, plus a residual (moe_sum.cu)."""
    total, out = step.parts[0], step.parts[-1]
    addend = None if total is out else next(s for s in out.srcs if producer(s) is not total)
    x, weights = total.srcs
    sources = (x, weights) if addend is None else (x, weights, addend)
    require_f32("moe_sum", *sources)
    n_tok, n_used, n_col = x.shape
    add_stride = 0 if addend is None else addend.strides[0]
    rows = Rows(n_tok, n_col, 1, ((x.strides[0], x.strides[1]), (add_stride, 0)))
    n = width(low, rows, (x, out) if addend is None else (x, out, addend))
    grid, block = element_blocks(rows, n)
    low.launch(
        SUM,
        f"moe_sum_f32<{n}>",
        grid=grid,
        block=block,
        args=[
            low.at(x),
            low.at(weights),
            None if addend is None else low.at(addend),
            low.at(out),
            *(n_tok, n_col, n_used),
            rows.structs()[0],
            *(weights.strides[0], add_stride),
        ],
    )
