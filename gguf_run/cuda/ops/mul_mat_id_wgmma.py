"""Products with chosen experts for many tokens on wgmma (sm_90)."""

from __future__ import annotations

from typing import Any

from gguf_run.cuda.activations import WGMMA_CAPABILITIES, WGMMA_PAIRS, WGMMA_TYPES
from gguf_run.cuda.lowering import Lowering, kernel_module
from gguf_run.cuda.ops.glu import glu_struct
from gguf_run.graph import Tensor

ROWS = 128
"""Of weights in a tile: where gate and up are one launch, half of them are each's."""
BLOCK_BYTES = 128
"""Of a pair in a stage: 64 columns."""
STAGES = {64: 16, 160: 10}
"""Of x in shared memory, by the pairs of a tile."""


def _kernel(type_name: str, pairs: int, gated: bool) -> str:
    return f"mul_mat_id_wgmma<{type_name}, {pairs}, {STAGES[pairs]}, {str(gated).lower()}>"


WGMMA = {
    (name, gated): kernel_module(
        "mul_mat_id_wgmma.cu",
        [_kernel(name, n, gated) for n in WGMMA_PAIRS],
        capabilities=WGMMA_CAPABILITIES,
    )
    for name in WGMMA_TYPES
    for gated in (False, True)
}


def launch_experts(
    low: Lowering, t: Tensor, places: list[Any], out: Tensor, n_out: int, glu: Tensor | None = None
) -> None:
    """The product `t`, whose x is F16_TILES, to `out` of n_out numbers a pair; `places` are
    those of weights, of the weights of `up`, of the biases of both;
    `glu` is what is made of them."""
    w, x, ids, groups = t.srcs
    (n_tile, row), n_row = groups.shape, x.shape[0] * x.shape[1]
    pairs, rows = row - 1, ROWS if glu is None else ROWS // 2
    n_unit = n_tile * -(-n_out // rows)
    low.launch(
        WGMMA[w.dtype.name, glu is not None],
        _kernel(w.dtype.name, pairs, glu is not None),
        grid=min(low.device.n_sm, n_unit),
        block=384,
        shared=(STAGES[pairs] + (glu is not None)) * pairs * BLOCK_BYTES,
        args=[
            *(*places, low.at(x), low.at(groups), low.at(out)),
            *(n_row, ids.n_elements, n_out, w.shape[1], w.shape[2] // 32, ids.n_elements // n_row),
            *(n_tile, pairs),
            glu_struct(glu or t),
        ],
    )
