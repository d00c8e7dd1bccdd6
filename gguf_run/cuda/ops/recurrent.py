"""Recurrent layers: convolutions along sequences, the gated delta rule, states that are kept."""

from __future__ import annotations

import struct

from gguf_run.cuda.device import MAX_GRID_ROWS
from gguf_run.cuda.lowering import Lowering, kernel_module, lowering
from gguf_run.cuda.ops.rows import WIDTHS, require_f32
from gguf_run.errors import DeviceError
from gguf_run.graph import DeltaParams, Tensor
from gguf_run.plan import Step

LANES, ROWS = 8, 16
"""Lanes that share a row of a state, and rows of a block of gated_delta_net.cu."""
PER_LANE = (4, 8, 16, 32)
"""Elements of a row that a lane keeps."""

CONV = kernel_module("ssm_conv.cu", ["ssm_conv_f32"])
DELTA = kernel_module(
    "gated_delta_net.cu",
    [
        *(f"gated_delta_net_f32<{n}, {w}, false>" for n in PER_LANE for w in WIDTHS),
        *(f"gated_delta_net_f32<{n}, 1, true>" for n in PER_LANE),
    ],
)
SCAN_LANES = ((8, 2), (16, 4), (32, 4), (32, 8))
"""Lanes that share a row of a state of ssm_scan.cu, and elements that each keeps."""
SCAN = kernel_module("ssm_scan.cu", [f"ssm_scan_f32<{n}, {each}>" for n, each in SCAN_LANES])
SET = kernel_module("set_states.cu", ["set_states_f32"])


@lowering("ssm_conv")
def ssm_conv(low: Lowering, step: Step) -> None:
    """Each token's row, then each sequence's new state (ssm_conv.cu)."""
    out = step.parts[0]
    x, w, states, seq_ids, state_in = out.srcs
    require_f32("ssm_conv", x, w, states)
    (n_tok, n_ch), n_tap, n_seq = x.shape, w.shape[1], state_in.shape[0]
    n_row = n_tok + n_seq
    low.launch(
        CONV,
        "ssm_conv_f32",
        grid=(-(-n_ch // 256), min(n_row, MAX_GRID_ROWS), -(-n_row // MAX_GRID_ROWS)),
        block=256,
        args=[
            *(low.at(t) for t in (x, w, states, seq_ids, state_in, out)),
            *(n_tok, n_seq, n_ch, n_tap, x.strides[0]),
        ],
    )


@lowering("gated_delta_net")
def gated_delta_net(low: Lowering, step: Step) -> None:
    """A block for some rows of a head's state (gated_delta_net.cu)."""
    out = step.parts[0]
    q, k, v, decay, beta, states, _, state_in = out.srcs
    require_f32("gated_delta_net", q, k, v, decay, beta, states)
    (_, _, d_k), (_, n_head, d_v) = q.shape, v.shape
    per_lane = next((n for n in PER_LANE if d_k <= LANES * n), None)
    if per_lane is None:
        most = LANES * PER_LANE[-1]
        raise DeviceError(f"gated_delta_net: expected keys of at most {most} numbers, found {k}")
    counts = [d_k, *q.strides[:2], *k.strides[:2]]
    aligned = all(low.at(t).ptr % 16 == 0 for t in (q, k, states))
    is_wide = len(decay.shape) == 3
    width = 4 if aligned and not is_wide and not any(n % 4 for n in counts) else 1
    low.launch(
        DELTA,
        f"gated_delta_net_f32<{per_lane}, {width}, {str(is_wide).lower()}>",
        grid=(state_in.shape[0] * n_head, -(-d_v // ROWS)),
        block=128,
        args=[*(low.at(t) for t in (*out.srcs, out)), delta_struct(out)],
    )


def delta_struct(t: Tensor) -> bytes:
    """The struct `Delta` of kernels/gated_delta_net.cu."""
    q, k, v, decay, beta = t.srcs[:5]
    assert isinstance(t.params, DeltaParams)
    strides = [*q.strides[:2], *k.strides[:2], *v.strides[:2]]
    sizes = [*decay.strides[:2], beta.strides[0], v.shape[0], k.shape[1], v.shape[1]]
    return struct.pack("<6q 9i 4x", *strides, *sizes, k.shape[2], v.shape[2], t.params.in_turn)


@lowering("ssm_scan")
def ssm_scan(low: Lowering, step: Step) -> None:
    """A block for some rows of a sequence's state (ssm_scan.cu)."""
    out = step.parts[0]
    x, dt, a, d, b, c, states, _, state_in = out.srcs
    require_f32("ssm_scan", x, dt, a, d, b, c, states)
    n_row = x.shape[1] * x.shape[2]
    lanes = next(((n, each) for n, each in SCAN_LANES if b.shape[2] <= n * each), None)
    if lanes is None:
        raise DeviceError(f"ssm_scan: expected states of at most 256 numbers a row, found {b}")
    low.launch(
        SCAN,
        f"ssm_scan_f32<{lanes[0]}, {lanes[1]}>",
        grid=(-(-n_row // (128 // lanes[0])), state_in.shape[0]),
        block=128,
        args=[*(low.at(t) for t in (*out.srcs, out)), scan_struct(out)],
    )


def scan_struct(t: Tensor) -> bytes:
    """The struct `Scan` of kernels/ssm_scan.cu."""
    x, dt, a, _, b, c = t.srcs[:6]
    strides = [*x.strides[:2], *b.strides[:2], *c.strides[:2]]
    sizes = [dt.strides[0], *x.shape, b.shape[1], b.shape[2], a.shape[1]]
    return struct.pack("<6q 7i 4x", *strides, *sizes)


@lowering("set_states")
def set_states(low: Lowering, step: Step) -> None:
    """States of the batch's sequences into their rows of the cache (set_states.cu)."""
    cache, rows, state_out = step.parts[0].srcs
    require_f32("set_states", cache, rows)
    n_seq, n_col = rows.shape
    low.launch(
        SET,
        "set_states_f32",
        grid=(-(-n_col // 1024), n_seq),
        block=256,
        args=[low.at(rows), low.at(state_out), low.at(cache), n_col, rows.strides[0]],
    )
