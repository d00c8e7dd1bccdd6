"""Products of many tokens on wgmma (sm_90): how their tiles are shared out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from gguf_run.cuda.activations import WGMMA_CAPABILITIES, WGMMA_TYPES
from gguf_run.cuda.device import Device
from gguf_run.cuda.lowering import Lowering, kernel_module
from gguf_run.cuda.ops.product import Product, operands
from gguf_run.errors import DeviceError
from gguf_run.plan import Step

ROWS = 128
"""Of weights in a tile."""
DEPTH = 128
"""Columns of a step."""
MOST_SHARED_TILES = 1 << 14
"""As in kernels/mul_mat_wgmma.cu."""


@dataclass(frozen=True, slots=True)
class Times:
    """Microseconds on an H200: of a step, of a tile besides, of adding up shared tiles' sums."""

    step: float
    tile: float
    shared: float


STAGES: Mapping[int, int] = MappingProxyType({128: 12, 192: 8, 256: 6})
"""Of x in shared memory, by the tokens of a tile."""
TIMES: Mapping[int, Times] = MappingProxyType(
    {128: Times(1.0, 4.5, 13), 192: Times(1.2, 5.5, 20), 256: Times(1.42, 6.5, 26)}
)
"""By the tokens of a tile; Q4_0."""
NARROWER = ("Q3_K", "Q6_K")
"""Types that leave too few registers for the widest tile."""


def tile_tokens(type_name: str) -> tuple[int, ...]:
    """Tokens of the tiles that there are for a type."""
    return (128, 192 if type_name in NARROWER else 256)


def wgmma_kernel(type_name: str, tokens: int) -> str:
    """The kernel for tiles of `tokens` tokens and weights of a type."""
    return f"mul_mat_wgmma<{type_name}, {tokens}, {STAGES[tokens]}>"


WGMMA = {
    name: kernel_module(
        "mul_mat_wgmma.cu",
        [wgmma_kernel(name, n) for n in tile_tokens(name)],
        capabilities=WGMMA_CAPABILITIES,
    )
    for name in WGMMA_TYPES
}


@dataclass(frozen=True, slots=True)
class Share:
    """Tokens of a tile, blocks, and whether each block takes whole tiles."""

    tokens: int
    n_block: int
    whole: bool


def share(device: Device, p: Product) -> Share:
    """What should take the least time."""
    n_step, found = p.n_in // DEPTH, []
    for tokens in tile_tokens(p.w.dtype.name):
        times = TIMES[tokens]
        n_tile = -(-p.n_out // ROWS) * -(-p.n_tok // tokens)
        n_block = min(device.n_sm, n_tile)
        rounds = -(-n_tile // n_block)
        found.append((rounds * (n_step * times.step + times.tile), Share(tokens, n_block, True)))
        n_block = min(device.n_sm, n_tile * n_step // 4)
        if n_block > 1 and n_tile <= MOST_SHARED_TILES:
            us = n_tile * (n_step * times.step + times.tile) / n_block + times.shared
            found.append((us, Share(tokens, n_block, False)))
    return min(found, key=lambda pair: pair[0])[1]


def wgmma_workspace(device: Device, p: Product) -> int:
    """The sums of shared tiles."""
    chosen = share(device, p)
    return 0 if chosen.whole else 4 * 2 * chosen.n_block * ROWS * chosen.tokens


def launch_wgmma(low: Lowering, step: Step, p: Product) -> None:
    """x as F16_TILES."""
    name = p.w.dtype.name
    if name not in WGMMA:
        raise DeviceError(f"mul_mat: {p.w}: expected a type of {', '.join(WGMMA)} for {p.x}")
    chosen = share(low.device, p)
    partial = None if chosen.whole else low.workspace(step)
    sizes = [p.n_tok, p.n_out, p.n_in // 32, p.add_stride, int(chosen.whole)]
    low.launch(
        WGMMA[name],
        wgmma_kernel(name, chosen.tokens),
        grid=chosen.n_block,
        block=384,
        args=[*operands(low, p), partial, *sizes],
        shared=STAGES[chosen.tokens] * chosen.tokens * DEPTH,
    )
