"""mul_mat: matrix products of few and of many tokens, with an addition behind them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gguf_run.cuda.activations import (
    FEW_CAPABILITY,
    MAX_FEW,
    WGMMA_CAPABILITIES,
    WGMMA_TYPES,
    form_of_few,
)
from gguf_run.cuda.capabilities import ALL, before, with_shared
from gguf_run.cuda.device import MAX_GRID_ROWS, Device
from gguf_run.cuda.layout import FLOAT_TYPES, LAYOUTS, is_float, layout_of
from gguf_run.cuda.lowering import Lowering, kernel_module, lowering, workspace
from gguf_run.cuda.ops.mul_mat_few import Few, few_workspace, launch_few, takes
from gguf_run.cuda.ops.mul_mat_wgmma import launch_wgmma, wgmma_workspace
from gguf_run.cuda.ops.parts import launch_parts, parts_bytes
from gguf_run.cuda.ops.product import Product, operands, product_of
from gguf_run.errors import DeviceError
from gguf_run.graph import F16_PAIR, F16_SCALED, F16_TILES, F32, Tensor
from gguf_run.plan import Step

FEW = (1, 2, 4, 8)
"""Tokens that the vector kernels are compiled for; other counts take the next larger one."""
WARPS_PER_SM = 16
"""Warps that keep enough loads in flight; fewer rows than that share theirs among more warps."""
MAX_WARPS = 4
"""Warps of a block of the vector kernels."""


@dataclass(frozen=True, slots=True)
class Tile:
    """Rows x tokens of a block and of a warp of mul_mat_mma.cuh; blocks an SM holds at once."""

    rows: int
    tokens: int
    warp_rows: int
    warp_tokens: int
    per_sm: int

    def kernel(self, name: str, type_name: str) -> str:
        """An instance of a kernel over mul_mat_mma.cuh."""
        sizes = f"{self.rows}, {self.tokens}, {self.warp_rows}, {self.warp_tokens}"
        return f"{name}<{type_name}, {sizes}>"

    @property
    def shared_bytes(self) -> int:
        """Two tiles of weights, three of activations, two chunks' scales and minimums of a tile
        of weights, the scales of the activations."""
        tiles = 128 * (2 * self.rows + 3 * self.tokens)
        return tiles + 4 * (2 * 2 * 4 * self.rows + self.tokens)


TILES = (Tile(64, 32, 16, 32, 5), Tile(64, 64, 32, 32, 3), Tile(128, 128, 32, 64, 2))
DEPTH = 64
"""Elements of a row that a block of mul_mat_mma takes at a time."""


def rows_per_warp(type_name: str) -> int:
    """Rows a warp: more of them share what is read of the activations, and more loads are in
    flight, where a chunk is few registers."""
    layout = LAYOUTS[type_name]
    return 4 if layout.block_size == 32 and layout.type_size <= 20 else 2


def warps_per_sm(rows: int, n_tok: int) -> int:
    """Warps to fill a multiprocessor with, as far as registers allow (mul_mat_vec.cuh: PER_SM)."""
    return {4: 12, 8: 8}.get(n_tok, WARPS_PER_SM) if rows == 4 else WARPS_PER_SM


def vec_kernel(type_name: str, n_tok: int) -> str:
    """The kernel for up to `n_tok` tokens, one of FEW, and weights of a quantised type."""
    return f"mul_mat_vec_q8_1<{type_name}, {n_tok}, {rows_per_warp(type_name)}>"


def vec_float_kernel(type_name: str, n_tok: int, width: int) -> str:
    """The kernel for up to `n_tok` tokens, one of FEW, and numbers that are loaded by `width`."""
    return f"mul_mat_vec_f32<{FLOAT_TYPES[type_name]}, {n_tok}, {width}>"


VEC = {
    name: kernel_module("mul_mat_vec.cu", [vec_kernel(name, n) for n in FEW]) for name in LAYOUTS
}
VEC_FLOAT = {
    name: kernel_module(
        "mul_mat_vec_float.cu", [vec_float_kernel(name, n, width) for n in FEW for width in (1, 8)]
    )
    for name in FLOAT_TYPES
}
LARGE = with_shared(TILES[-1].shared_bytes)
"""Capabilities with the memory for the largest tile."""


def large_for(type_name: str) -> frozenset[int]:
    """Those of LARGE where a type may need it: wgmma takes many tokens of rows of whole tiles."""
    is_whole = type_name in LAYOUTS and LAYOUTS[type_name].block_size % F16_TILES.block_size == 0
    return LARGE - WGMMA_CAPABILITIES if is_whole and type_name in WGMMA_TYPES else LARGE


def _capabilities(type_name: str, tile: Tile) -> frozenset[int]:
    """Those of the devices that are given the kernels of a tile."""
    if tile is TILES[-1]:
        return large_for(type_name)
    has_few = type_name in LAYOUTS and type_name in WGMMA_TYPES and tile is TILES[0]
    return before(FEW_CAPABILITY) if has_few else ALL


MMA = {
    (name, tile): kernel_module(
        "mul_mat_mma.cu",
        [tile.kernel("mul_mat_mma", name)],
        capabilities=_capabilities(name, tile),
    )
    for name in ("F16", "BF16", *LAYOUTS)
    for tile in TILES
}
SUM = kernel_module("mul_mat_mma.cu", ["mul_mat_sum"])
TILE_F32 = kernel_module("mul_mat_tile.cu", [f"mul_mat_f32<{c}>" for c in FLOAT_TYPES.values()])


@lowering("mul_mat", "mul_mat_add")
def mul_mat(low: Lowering, step: Step) -> None:
    """The kernel by the type of w, the form of x (`activations.py`) and the number of tokens."""
    product = product_of(step.parts)
    if product is None:
        launch_parts(low, step)
    elif product.x.dtype is F16_TILES:
        launch_wgmma(low, step, [product])
    elif takes(low.device, product.w, product.x):
        few = Few([product])
        partial = low.workspace(step) if few_workspace(low.device, few) else None
        launch_few(low, few, partial)
    elif product.x.dtype in (F16_SCALED, F16_PAIR):
        _launch_mma(low, step, product)
    elif not is_float(product.w.dtype):
        _launch_vec(low, product)
    elif product.x.dtype is not F32:
        raise DeviceError(
            f"mul_mat: {product.w}: expected activations as F32 or {F16_SCALED.name}, "
            f"found {product.x}"
        )
    elif product.n_tok <= MAX_FEW:
        _launch_vec_float(low, product)
    else:
        _launch_tile(low, step, product)


@workspace("mul_mat", "mul_mat_add")
def _workspace(device: Device, parts: tuple[Tensor, ...]) -> int:
    """The partial sums where blocks share rows along n_in; all parts where they run one by one."""
    product = product_of(parts)
    if product is None:
        return parts_bytes(parts) + _workspace(device, parts[:1])
    if product.x.dtype is F16_TILES:
        return wgmma_workspace(device, [product])
    if takes(device, product.w, product.x):
        return few_workspace(device, Few([product]))
    if product.x.dtype in (F16_SCALED, F16_PAIR):
        n_split = product.n_term * _n_split(device, product, _tile(device, product.n_row))
    elif product.x.dtype is F32 and product.n_tok > MAX_FEW:
        n_split = _n_split_f32(device, product)
    else:
        return 0
    return 4 * n_split * product.n_tok * product.n_out if n_split > 1 else 0


# Few tokens


def share_rows(n_unit: int, n_step: int, n_sm: int, warps: int = WARPS_PER_SM) -> tuple[int, int]:
    """Warps that split a unit's rows along n_in, and units a block.

    n_unit: how many groups of rows; n_step: loads of a whole warp in a row; warps: that fill one of
    n_sm multiprocessors.
    """
    k_split = 1
    while k_split < MAX_WARPS and n_unit * k_split < warps * n_sm and n_step > k_split:
        k_split *= 2
    return k_split, MAX_WARPS // k_split


def _launch_vec(low: Lowering, p: Product) -> None:
    name = p.w.dtype.name
    layout_of(p.w.dtype)
    few = next((n for n in FEW if p.n_tok <= n), None)
    form = form_of_few(p.w.dtype)
    if few is None or p.x.dtype is not form:
        raise DeviceError(
            f"mul_mat: {p.w}: expected at most {MAX_FEW} tokens as {form.name}, or "
            f"{F16_SCALED.name}, found {p.x}"
        )
    rows, n_chunk = rows_per_warp(name), p.n_in // 32
    n_unit = -(-p.n_out // rows)
    n_step, warps = -(-n_chunk // 32), warps_per_sm(rows, few)
    k_split, units = share_rows(n_unit, n_step, low.device.n_sm, warps)
    low.launch(
        VEC[name],
        vec_kernel(name, few),
        grid=-(-n_unit // units),
        block=(32, units * k_split),
        args=[*operands(low, p), p.n_tok, p.n_out, n_chunk, k_split, p.add_stride],
    )


def _launch_vec_float(low: Lowering, p: Product) -> None:
    name = p.w.dtype.name
    few = next(n for n in FEW if p.n_tok <= n)
    stride = p.x.strides[0]
    aligned = p.n_in % 8 == 0 and stride % 4 == 0 and low.at(p.x).ptr % 16 == 0
    vec = 8 if aligned else 1
    n_unit = -(-p.n_out // 2)
    k_split, units = share_rows(n_unit, -(-p.n_in // (32 * vec)), low.device.n_sm)
    low.launch(
        VEC_FLOAT[name],
        vec_float_kernel(name, few, vec),
        grid=-(-n_unit // units),
        block=(32, units * k_split),
        args=[*operands(low, p), p.n_tok, p.n_out, p.n_in, stride, 0, k_split, p.add_stride],
    )


# Many tokens


def has_large_tiles(device: Device) -> bool:
    """Whether a block has the memory for the largest tile."""
    return device.max_shared >= TILES[-1].shared_bytes


def _tile(device: Device, n_tok: int) -> Tile:
    """The smallest that takes all tokens, else the largest that the device's memory allows."""
    fitting = TILES if has_large_tiles(device) else TILES[:-1]
    return next((t for t in fitting if n_tok <= t.tokens), fitting[-1])


def _n_split(device: Device, p: Product, tile: Tile) -> int:
    """How many blocks share a tile's sums, so that the last wave of blocks is not a thin one.

    Counted in steps of DEPTH: what a block needs to begin and to write its results are about four,
    and four more where the results are partial sums, written and read once more (measured on an
    H200).
    """
    n_tile = -(-p.n_out // tile.rows) * -(-p.n_row // tile.tokens)
    slots, n_step = device.n_sm * tile.per_sm, p.n_in / DEPTH

    def steps(n: int) -> float:
        return -(-n_tile * n // slots) * (n_step / n + (4 if n == 1 else 8))

    # Parts are added up by a row of blocks a token.
    most = max(1, min(16, int(n_step) // 4)) if p.n_tok <= MAX_GRID_ROWS else 1
    return min(range(1, most + 1), key=steps)


def _launch_mma(low: Lowering, step: Step, p: Product) -> None:
    name = p.w.dtype.name
    if not is_float(p.w.dtype):
        layout_of(p.w.dtype)
    tile = _tile(low.device, p.n_row)
    n_split = _n_split(low.device, p, tile)
    n_sum = p.n_term * n_split
    w, x, addend, y = operands(low, p)
    partial = low.workspace(step) if n_sum > 1 else None
    if n_sum > n_split:  # each term's products are partial sums, too
        addend, y = None, partial
    low.launch(
        MMA[name, tile],
        tile.kernel("mul_mat_mma", name),
        grid=(-(-p.n_out // tile.rows), -(-p.n_row // tile.tokens), n_split),
        block=2 * tile.rows,
        args=[w, x, addend, y, partial, p.n_row, p.n_out, p.n_in // 32, p.add_stride],
        shared=tile.shared_bytes,
    )
    if n_sum > 1:
        _launch_sum(low, p, partial, n_sum)


def _launch_sum(low: Lowering, p: Product, partial: Any, n_split: int) -> None:
    _, _, addend, y = operands(low, p)
    low.launch(
        SUM,
        "mul_mat_sum",
        grid=(-(-p.n_out // 256), p.n_tok),
        block=256,
        args=[partial, addend, y, n_split, p.n_tok, p.n_out, p.add_stride],
    )


def _n_split_f32(device: Device, p: Product) -> int:
    """How many blocks share a tile's sums: a router has few rows, which alone would leave most of a
    device idle (250 us for 128 rows and 2048 tokens on an H200)."""
    n_tile = -(-p.n_out // 64) * -(-p.n_tok // 128)
    return max(1, min(16, p.n_in // 128, 2 * device.n_sm // n_tile))


def _launch_tile(low: Lowering, step: Step, p: Product) -> None:
    n_split = _n_split_f32(low.device, p)
    partial = low.workspace(step) if n_split > 1 else None
    low.launch(
        TILE_F32,
        f"mul_mat_f32<{FLOAT_TYPES[p.w.dtype.name]}>",
        grid=(-(-p.n_out // 64), -(-p.n_tok // 128), n_split),
        block=256,
        args=[*operands(low, p), partial, p.n_tok, p.n_out, p.n_in, p.x.strides[0], p.add_stride],
    )
    if n_split > 1:
        _launch_sum(low, p, partial, n_split)
