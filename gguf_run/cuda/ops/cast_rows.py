"""Casts of activations for tensor cores, in the kernels that compute them."""

from __future__ import annotations

from typing import Any

from gguf_run.cuda.activations import WGMMA_CAPABILITIES
from gguf_run.cuda.capabilities import ALL
from gguf_run.cuda.device import Device
from gguf_run.cuda.lowering import Lowering, accepts, kernel_module, lowering
from gguf_run.cuda.ops.glu import GATES
from gguf_run.cuda.ops.norm import is_weighted
from gguf_run.cuda.ops.rows import Rows, rows_of
from gguf_run.errors import DeviceError
from gguf_run.graph import F16_SCALED, F16_TILES, F32, GluParams, NormParams, Tensor
from gguf_run.plan import Step

FORMS = {F16_SCALED: "SCALED", F16_TILES: "TILES"}
"""As kernels/cast_rows.cuh calls them."""
TAKEN = {F16_SCALED: ALL, F16_TILES: WGMMA_CAPABILITIES}
NORM = {
    form: kernel_module("norm_cast.cu", [f"rms_norm_mul_cast<{name}>"], TAKEN[form])
    for form, name in FORMS.items()
}
GLU = {
    (gate, form): kernel_module("glu_cast.cu", [f"glu_cast<{name}, {gate.upper()}>"], TAKEN[form])
    for gate in GATES
    for form, name in FORMS.items()
}
CAST = kernel_module("row_cast.cu", ["row_cast<SCALED>"])
COLUMNS = 16
"""Of a thread: more threads would leave fewer blocks to a multiprocessor, which wait by turns."""
MOST_THREADS = 512
STATIC_SHARED = 1024
"""Bytes of shared memory that a block needs besides its row, at most."""


@accepts("rms_norm_mul_cast")
def _takes_norm(device: Device, parts: tuple[Tensor, ...]) -> bool:
    normed, weighted, cast = parts
    whole = is_weighted(parts) and cast.srcs[0] is weighted
    return whole and can_cast(device, cast, normed.srcs[0])


@accepts("glu_cast")
def _takes_glu(device: Device, parts: tuple[Tensor, ...]) -> bool:
    gated, cast = parts
    return cast.srcs[0] is gated and can_cast(device, cast, *gated.srcs)


def can_cast(device: Device, cast: Tensor, *sources: Tensor) -> bool:
    """Whether the form is one of these kernels', a row fits their memory, and four numbers of each
    source can be loaded at once."""
    if cast.dtype not in FORMS or 4 * cast.shape[-1] + STATIC_SHARED > device.max_shared:
        return False
    try:
        rows_of("cast", *sources)
    except DeviceError:
        return False
    return not any(n % 4 for t in sources for n in (t.offset, *t.strides[:-1]))


@lowering("rms_norm_mul_cast")
def rms_norm_mul_cast(low: Lowering, step: Step) -> None:
    """Rows normalised, multiplied by one row and cast (norm_cast.cu); as f32, too, where others
    read them."""
    normed, weighted, cast = step.parts
    x, w = normed.srcs[0], weighted.srcs[1]
    assert isinstance(normed.params, NormParams)
    if w.dtype is not F32:
        raise DeviceError(f"{step.op}: expected F32, found {w}")
    rows = rows_of(step.op, x)
    plain = low.at(weighted) if weighted in step.outputs else None
    args = [low.at(x), low.at(w), low.at(cast), plain, rows.n_col, rows.n_inner, *rows.structs()]
    kernel = f"rms_norm_mul_cast<{FORMS[cast.dtype]}>"
    pdl, blocks = low.device.capability >= 90, _blocks(rows)
    low.launch(NORM[cast.dtype], kernel, args=[*args, normed.params.eps], pdl=pdl, **blocks)


@lowering("glu_cast")
def glu_cast(low: Lowering, step: Step) -> None:
    """act(gate) * up, cast (glu_cast.cu)."""
    gated, cast = step.parts
    rows = rows_of(step.op, *gated.srcs)
    p = gated.params
    limits = (p.alpha, p.limit) if isinstance(p, GluParams) else (0.0, 0.0)
    args = [*map(low.at, gated.srcs), low.at(cast), rows.n_col, rows.n_inner, *rows.structs()]
    kernel = f"glu_cast<{FORMS[cast.dtype]}, {gated.op.upper()}>"
    low.launch(GLU[gated.op, cast.dtype], kernel, args=[*args, *limits], **_blocks(rows))


def launch_cast(low: Lowering, cast: Tensor) -> None:
    """Rows that need nothing but the cast to F16_SCALED (row_cast.cu)."""
    x = cast.srcs[0]
    rows = rows_of(cast.op, x)
    args = [low.at(x), low.at(cast), rows.n_col, rows.n_inner, *rows.structs()]
    pdl = low.device.capability >= 90
    low.launch(CAST, CAST.names[0], args=args, pdl=pdl, **_blocks(rows))


def _blocks(rows: Rows) -> dict[str, Any]:
    """A block a row."""
    threads = min(MOST_THREADS, -(-rows.n_col // (32 * COLUMNS)) * 32)
    return {"grid": rows.n_rows, "block": threads, "shared": 4 * rows.n_col}
