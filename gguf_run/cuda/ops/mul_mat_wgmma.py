"""Products of many tokens on wgmma (sm_90): how their tiles are shared out."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from gguf_run.cuda.activations import WGMMA_CAPABILITIES, WGMMA_TYPES
from gguf_run.cuda.device import Device
from gguf_run.cuda.lowering import Lowering, accepts, kernel_module, lowering
from gguf_run.cuda.ops.product import Product, operands
from gguf_run.errors import DeviceError
from gguf_run.graph import F16_TILES, Tensor
from gguf_run.plan import Step

THREADS = 384
ROWS = 128
"""Of weights in a tile."""
DEPTH = 128
"""Columns of a step."""
BLOCK_BYTES = 128
"""Of a token in a stage: 64 columns."""
MOST = 3
"""Products of one launch."""


@dataclass(frozen=True, slots=True)
class Times:
    """Microseconds on an H200: of a step, of a tile besides, of adding up shared tiles' sums."""

    step: float
    tile: float
    shared: float


TIMES: Mapping[int, Times] = MappingProxyType(
    {
        128: Times(1.05, 3.5, 16),
        160: Times(1.05, 5.5, 20),
        192: Times(1.1, 7, 24),
        256: Times(1.25, 10.8, 30),
    }
)
"""By the tokens of a tile; Q4_0."""
NARROWER = ("IQ2_S", "IQ3_S", "Q3_K", "Q6_K")
"""Types that leave too few registers for the widest tiles."""


def tile_tokens(type_name: str) -> tuple[int, ...]:
    """Tokens of the tiles that there are for a type."""
    return tuple(n for n in TIMES if n <= (192 if type_name in NARROWER else 256))


def stages(tokens: int) -> int:
    """Of x in shared memory."""
    return (192 << 10) // (tokens * BLOCK_BYTES)


def wgmma_kernel(type_name: str, tokens: int) -> str:
    """The kernel for tiles of `tokens` tokens and weights of a type."""
    return f"mul_mat_wgmma<{type_name}, {tokens}, {stages(tokens)}>"


def glu_kernel(type_name: str, gate: str, tokens: int) -> str:
    """The kernel for gate and up together."""
    return f"mul_mat_wgmma_glu<{type_name}, {gate.upper()}, {tokens}, {stages(tokens)}>"


GLU = {
    (name, gate, n): kernel_module(
        "mul_mat_wgmma_glu.cu", [glu_kernel(name, gate, n)], capabilities=WGMMA_CAPABILITIES
    )
    for name in WGMMA_TYPES
    for gate in ("swiglu", "geglu")
    for n in tile_tokens(name)
}
WGMMA = {
    (name, n): kernel_module(
        "mul_mat_wgmma.cu", [wgmma_kernel(name, n)], capabilities=WGMMA_CAPABILITIES
    )
    for name in WGMMA_TYPES
    for n in tile_tokens(name)
}


SUM = {
    n: kernel_module(
        "mul_mat_wgmma.cu", [f"mul_mat_wgmma_sum<{n}>"], capabilities=WGMMA_CAPABILITIES
    )
    for n in TIMES
}


@dataclass(frozen=True, slots=True)
class Share:
    """Tokens of a tile, blocks, and whether each block takes whole tiles."""

    tokens: int
    n_block: int
    whole: bool


def share(device: Device, products: Sequence[Product]) -> Share:
    """What should take the least time, for products of one x with weights of one type."""
    p = products[0]
    n_step, found = p.n_in // DEPTH, []
    for tokens in tile_tokens(p.w.dtype.name):
        times = TIMES[tokens]
        n_tile = _row_tiles(products) * -(-p.n_tok // tokens)
        n_block = min(device.n_sm, n_tile)
        rounds = -(-n_tile // n_block)
        found.append((rounds * (n_step * times.step + times.tile), Share(tokens, n_block, True)))
        n_block = min(device.n_sm, n_tile * n_step // 4)
        if n_block > 1:
            us = n_tile * (n_step * times.step + times.tile) / n_block + times.shared
            found.append((us, Share(tokens, n_block, False)))
    return min(found, key=lambda pair: pair[0])[1]


def _row_tiles(products: Sequence[Product]) -> int:
    return sum(-(-p.n_out // ROWS) for p in products)


def wgmma_workspace(device: Device, products: Sequence[Product]) -> int:
    """The sums of shared tiles."""
    chosen = share(device, products)
    return 0 if chosen.whole else 4 * 2 * chosen.n_block * ROWS * chosen.tokens


def launch_wgmma(low: Lowering, step: Step, products: Sequence[Product]) -> None:
    """Up to three products of one x (F16_TILES) with weights of one type."""
    p = products[0]
    name = p.w.dtype.name
    if name not in WGMMA_TYPES:
        known = ", ".join(WGMMA_TYPES)
        raise DeviceError(f"mul_mat: {p.w}: expected a type of {known} for {p.x}")
    chosen = share(low.device, products)
    partial = None if chosen.whole else low.workspace(step)
    structs = b"".join(_struct(low, q) for q in products).ljust(MOST * len(_struct(low, p)), b"\0")
    sizes = [p.n_tok, _row_tiles(products), p.n_in // 32]
    low.launch(
        WGMMA[name, chosen.tokens],
        wgmma_kernel(name, chosen.tokens),
        grid=chosen.n_block,
        block=THREADS,
        args=[structs, low.at(p.x), partial, *sizes, int(chosen.whole)],
        shared=stages(chosen.tokens) * chosen.tokens * BLOCK_BYTES,
    )
    if chosen.whole:
        return
    n_tile = _row_tiles(products) * -(-p.n_tok // chosen.tokens)
    low.launch(
        SUM[chosen.tokens],
        f"mul_mat_wgmma_sum<{chosen.tokens}>",
        grid=(n_tile, chosen.tokens // 32),
        block=256,
        args=[structs, low.at(p.x), partial, *sizes, chosen.n_block],
    )


def _struct(low: Lowering, p: Product) -> bytes:
    """The struct `Product` of kernels/mul_mat_wgmma.cu."""
    w, _, addend, y = operands(low, p)
    return struct.pack("<3Q 2i", w.ptr, addend.ptr if addend else 0, y.ptr, p.n_out, p.add_stride)


@accepts("mul_mat_glu_cast")
def _takes_gated(device: Device, parts: tuple[Tensor, ...]) -> bool:
    gate, up, gated, cast = parts
    (w, x), (v, _) = gate.srcs, up.srcs
    whole = cast.dtype is x.dtype is F16_TILES and cast.srcs[0] is gated
    whole = whole and (w.dtype.name, gated.op, tile_tokens(w.dtype.name)[0]) in GLU
    return whole and (w.dtype, w.shape) == (v.dtype, v.shape) and gated.srcs[:2] == (gate, up)


@lowering("mul_mat_glu_cast")
def mul_mat_glu_cast(low: Lowering, step: Step) -> None:
    """act(gate x) * (up x), cast for the product behind (mul_mat_wgmma_glu.cu)."""
    gate, up, gated, cast = step.parts
    (w, x), v = gate.srcs, up.srcs[0]
    name, n_tok, (n_out, n_in) = w.dtype.name, x.shape[0], w.shape
    tokens = _glu_tokens(low.device, name, n_tok, n_out, n_in)
    low.launch(
        GLU[name, gated.op, tokens],
        glu_kernel(name, gated.op, tokens),
        grid=min(low.device.n_sm, n_out // 64 * -(-n_tok // tokens)),
        block=THREADS,
        args=[*map(low.at, (w, v, x, cast)), n_tok, n_out, n_in // 32],
        shared=(stages(tokens) + 1) * tokens * BLOCK_BYTES,
    )


def _glu_tokens(device: Device, name: str, n_tok: int, n_out: int, n_in: int) -> int:
    """Tokens of the tiles that should take the least time."""

    def us(tokens: int) -> float:
        rounds = -(-(n_out // 64 * -(-n_tok // tokens)) // device.n_sm)
        return rounds * (n_in // DEPTH * TIMES[tokens].step + TIMES[tokens].tile)

    return min(tile_tokens(name), key=us)
