"""Products of few tokens, several of one x in a launch, with what stands behind them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gguf_run.cuda.activations import FEW_CAPABILITY, WGMMA_TYPES, takes_few
from gguf_run.cuda.capabilities import since, with_shared
from gguf_run.cuda.device import Device
from gguf_run.cuda.layout import LAYOUTS
from gguf_run.cuda.lowering import Lowering, kernel_module
from gguf_run.cuda.ops.product import Product, operands
from gguf_run.graph import F16_PAIR, F16_SCALED, Tensor

STAGES = (3, 2)
"""Steps of x in shared memory, as many as fit."""
STATIC_SHARED = 1024
"""Bytes of shared memory that a block needs besides, at most."""
MAX_COUNTERS = 1 << 18
"""As in the kernel."""
FILE = "mul_mat_few.cu"
WARPS = 8
WARP_ROWS = 32
"""Rows of weights that a warp multiplies at a time."""


@dataclass(frozen=True, slots=True)
class Tile:
    """Rows of x that a kernel takes; warps of a block that have rows of weights of their own, whose
    columns the others share."""

    tokens: int
    groups: int

    @property
    def rows(self) -> int:
        """Rows of weights."""
        return WARP_ROWS * self.groups

    @property
    def columns(self) -> int:
        """Columns of a step."""
        return 128 * WARPS // self.groups

    def kernel(self, name: str) -> str:
        return f"mul_mat_few<{name}, {self.tokens}, {self.groups}>"

    def shared(self, n_stage: int) -> int:
        """Steps of x, and the sums of all threads."""
        sums = 4 * WARP_ROWS * WARPS * self.tokens
        return n_stage * self.tokens * self.columns * 2 + sums


TILES = (Tile(8, 1), Tile(16, 1), Tile(32, 2))
"""By rows of x; other numbers take the next larger one."""


def _tiles(name: str) -> tuple[Tile, ...]:
    """Of floats a token is two rows of x."""
    return TILES if name in LAYOUTS else (TILES[1],)


def _per_sm(name: str, tile: Tile) -> int:
    """Blocks that a multiprocessor runs at once, as registers allow (mul_mat_few.cu: PER_SM)."""
    if tile.tokens > 8:
        return 1
    return 2 if name in ("Q4_0", "IQ4_NL") else 1


MODULES = {
    (name, tile): kernel_module(
        FILE,
        [tile.kernel(name)],
        capabilities=with_shared(tile.shared(STAGES[-1]) + STATIC_SHARED) & since(FEW_CAPABILITY),
    )
    for name in WGMMA_TYPES
    for tile in _tiles(name)
}


@dataclass(frozen=True, slots=True)
class Few:
    """What a launch computes (kernels/mul_mat_few.cu): up to three products of one x with weights
    of one type; with `glu`, an index into GLU_OPS, act(first) * second, at the first's result."""

    products: Sequence[Product]
    glu: int = -1

    @property
    def x(self) -> Tensor:
        return self.products[0].x

    @property
    def n_row(self) -> int:
        return sum(p.n_out for p in self.products)

    def n_tile(self, rows: int) -> int:
        """Tiles of `rows` rows; gated ones have half of their rows of each weight."""
        return -(-self.n_row // rows)


def takes(device: Device, w: Tensor, x: Tensor) -> bool:
    """Whether there is a kernel for w and x, cast."""
    is_few = takes_few(w.dtype, x.shape[0], device.capability)
    return is_few and x.dtype in (F16_SCALED, F16_PAIR) and _tile(device, w, x) is not None


def _tile(device: Device, w: Tensor, x: Tensor) -> Tile | None:
    n_row = x.shape[0] * (2 if x.dtype is F16_PAIR else 1)
    tile = next((t for t in _tiles(w.dtype.name) if n_row <= t.tokens), None)
    fits = tile is not None and tile.shared(STAGES[-1]) + STATIC_SHARED <= device.max_shared
    return tile if fits else None


@dataclass(frozen=True, slots=True)
class Geometry:
    """A launch: blocks may share tiles, each an equal part of all steps, or have whole ones."""

    tile: Tile
    n_tile: int
    grid: int
    is_shared: bool

    @property
    def partial_bytes(self) -> int:
        """Partial sums of blocks that share tiles: up to two tiles a block."""
        return 4 * 2 * self.grid * self.tile.rows * self.tile.tokens if self.is_shared else 0


def _geometry(device: Device, work: Few) -> Geometry:
    p = work.products[0]
    tile = _tile(device, p.w, work.x)
    assert tile is not None
    if _per_sm(p.w.dtype.name, tile) > 1 and work.n_tile(tile.rows) <= device.n_sm:
        tile = TILES[1]  # a block each, of the kernel that loads further ahead
    n_tile, n_step = work.n_tile(tile.rows), -(-p.n_in // tile.columns)
    slots = device.n_sm * _per_sm(p.w.dtype.name, tile)
    if tile.groups == 1 and 10 * n_tile >= 8 * device.n_sm:
        return Geometry(tile, n_tile, min(slots, n_tile), False)
    grid = max(1, min(slots, n_tile * n_step // 2))
    return Geometry(tile, n_tile, grid, n_tile % grid != 0)


def few_workspace(device: Device, work: Few) -> int:
    """Bytes of the partial sums."""
    return _geometry(device, work).partial_bytes


def launch_few(low: Lowering, work: Few, partial: Any) -> None:
    """One launch for all products; `partial` as `few_workspace` says."""
    g = _geometry(low.device, work)
    first, name = work.products[0], work.products[0].w.dtype.name
    room = low.device.max_shared - STATIC_SHARED
    n_stage = next(n for n in STAGES if g.tile.shared(n) <= room)
    absent = [None] * (3 - len(work.products))
    w, _, adds, y = zip(*(operands(low, p) for p in work.products), strict=True)
    low.launch(
        MODULES[name, g.tile],
        g.tile.kernel(name),
        grid=g.grid,
        block=32 * WARPS,
        shared=g.tile.shared(n_stage),
        pdl=low.device.capability >= 90,
        args=[
            low.at(work.x),
            *(*w, *absent),
            *(*adds, *absent),
            *(*y, *absent),
            partial,
            *(p.n_out for p in work.products),
            *(0 for _ in absent),
            first.add_stride,
            first.n_tok,
            first.n_term,
            first.n_in // 32,
            work.glu,
            n_stage,
            int(g.is_shared),
            g.n_tile,
            _first_counter(low, g.n_tile),
        ],
    )


def _first_counter(low: Lowering, n_tile: int) -> int:
    """Behind the counters of the launch before, so that launches side by side have their own."""
    before = next((c for c in reversed(low.calls) if c.module.path.name == FILE), None)
    first = 0 if before is None else before.args[-1] + before.args[-2]
    return first if first + n_tile <= MAX_COUNTERS else 0
