"""Columns of the largest elements of rows: argmax and top_k."""

from __future__ import annotations

from math import prod

from gguf_run.cuda.device import Device
from gguf_run.cuda.lowering import Lowering, kernel_module, lowering, workspace
from gguf_run.cuda.ops.rows import (
    WARPS,
    WIDTHS,
    Rows,
    row_blocks,
    rows_of,
    warps_per_row,
    width,
)
from gguf_run.errors import DeviceError
from gguf_run.graph import Tensor, TopKParams
from gguf_run.plan import Step

PER_LANE = (4, 16)
SIZES = (512, 2048, 4096)
MAX_WARP_K = 32
MAX_K = SIZES[-1] // 2
"""Above this a block of a longer row would keep as much as it reads."""
PART = 4096
"""Columns of a row of logits that are worth a block of argmax."""
KEY_BYTES = 8

ARGMAX = kernel_module(
    "argmax.cu", [*(f"argmax_f32<{n}, {w}>" for n in WARPS for w in WIDTHS), "argmax_keys"]
)
TOP_K = kernel_module(
    "top_k.cu",
    [
        *(f"top_k_f32_warp<{n}>" for n in PER_LANE),
        *(f"top_k_{source}_sort<{size}>" for source in ("f32", "keys") for size in SIZES),
    ],
)


def _n_part(device: Device, x: Tensor) -> int:
    """Blocks of a row: one, or several where the rows alone leave the device idle."""
    n_rows = prod(x.shape[:-1])
    return max(1, min(x.shape[-1] // PART, 2 * device.n_sm // n_rows))


@workspace("argmax")
def _argmax_keys_bytes(device: Device, parts: tuple[Tensor, ...]) -> int:
    x = parts[0].srcs[0]
    n_part = _n_part(device, x)
    return 0 if n_part == 1 else prod(x.shape[:-1]) * n_part * KEY_BYTES


@lowering("argmax")
def argmax(low: Lowering, step: Step) -> None:
    """Rows of any stride and length, long ones by several blocks each (argmax.cu)."""
    out = step.parts[0]
    x = out.srcs[0]
    rows, n_part = rows_of(out.op, x), _n_part(low.device, x)
    n = width(low, rows, (x,))
    n_warps = warps_per_row(rows.n_col // n_part, n)
    grid, block = row_blocks(rows.n_rows, n_warps)
    keys = low.workspace(step) if n_part > 1 else None
    low.launch(
        ARGMAX,
        f"argmax_f32<{n_warps}, {n}>",
        grid=(grid, n_part),
        block=block,
        args=[low.at(x), keys, low.at(out), rows.n_rows, rows.n_col, rows.n_inner, *rows.structs()],
    )
    if n_part > 1:
        low.launch(
            ARGMAX, "argmax_keys", grid=rows.n_rows, block=32, args=[keys, low.at(out), n_part]
        )


@lowering("top_k")
def top_k(low: Lowering, step: Step) -> None:
    """The k largest, in order: short rows by a warp each, others by sorting blocks (top_k.cu)."""
    out = step.parts[0]
    x = out.srcs[0]
    rows, k = rows_of(out.op, x), _k(out)
    if _by_warp(x, k):
        _launch_warps(low, x, out, rows, k)
    else:
        _launch_sorts(low, step, x, out, rows, k)


@workspace("top_k")
def _kept_bytes(device: Device, parts: tuple[Tensor, ...]) -> int:
    out = parts[0]
    x, k = out.srcs[0], _k(out)
    return 0 if _by_warp(x, k) else sum(_level_bytes(x, k))


def _k(out: Tensor) -> int:
    """The op's k; DeviceError where rows are long and it is more than `MAX_K`."""
    assert isinstance(out.params, TopKParams)
    k, n_col = out.params.k, out.srcs[0].shape[-1]
    if k > MAX_K and n_col > SIZES[-1]:
        raise DeviceError(
            f"top_k: expected k of at most {MAX_K} for rows of more than {SIZES[-1]} elements, "
            f"found k = {k} of {n_col}"
        )
    return k


def _by_warp(x: Tensor, k: int) -> bool:
    return k <= MAX_WARP_K and x.shape[-1] <= 32 * PER_LANE[-1]


def _size(n: int, k: int) -> int:
    """How many elements a block sorts: all of a short row; of others less where few are kept."""
    return next((s for s in SIZES if s >= n), SIZES[1] if 4 * k <= SIZES[1] else SIZES[2])


def _levels(n: int, k: int) -> list[tuple[int, int, int]]:
    """(elements of a row, of a block, blocks) of each launch, until one block is left."""
    levels = []
    while True:
        size = _size(n, k)
        blocks = -(-n // size)
        levels.append((n, size, blocks))
        if blocks == 1:
            return levels
        n = blocks * k


def _level_bytes(x: Tensor, k: int) -> list[int]:
    """Workspace for what each launch but the last keeps."""
    levels = _levels(x.shape[-1], k)[:-1]
    return [prod(x.shape[:-1]) * blocks * k * KEY_BYTES for _, _, blocks in levels]


def _launch_warps(low: Lowering, x: Tensor, out: Tensor, rows: Rows, k: int) -> None:
    per_lane = next(n for n in PER_LANE if 32 * n >= rows.n_col)
    grid, block = row_blocks(rows.n_rows, 1)
    args = [low.at(x), low.at(out), rows.n_rows, rows.n_col, rows.n_inner, *rows.structs(), k]
    low.launch(TOP_K, f"top_k_f32_warp<{per_lane}>", grid=grid, block=block, args=args)


def _launch_sorts(low: Lowering, step: Step, x: Tensor, out: Tensor, rows: Rows, k: int) -> None:
    levels, at, source = _levels(rows.n_col, k), 0, low.at(x)
    for i, (n, size, blocks) in enumerate(levels):
        kept = None
        if blocks > 1:
            kept = low.workspace(step).at(at)
            at += _level_bytes(x, k)[i]
        shape = [n, rows.n_inner, *rows.structs()] if i == 0 else [n]
        low.launch(
            TOP_K,
            f"top_k_{'keys' if i else 'f32'}_sort<{size}>",
            grid=(rows.n_rows, blocks),
            block=min(size // 2, 1024),
            args=[source, kept, low.at(out), *shape, k],
        )
        source = kept or source
