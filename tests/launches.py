"""Launches for GPUs that are not there: wrappers choose by types, shapes and the device alone, so
plans are lowered without memory behind them.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

from case_data import WEIGHT_TYPES
from cases import Build
from op_cases import ALL_CASES
from op_cases.attn_decode import Decode
from op_cases.flash_attn_ext import Attention
from op_cases.mul_mat import product
from op_cases.mul_mat_batched import heads
from op_cases.mul_mat_id import Experts, chosen
from op_cases.mul_mat_wgmma import gated
from op_cases.recurrent import delta
from op_cases.soft_max import sums
from op_cases.stream_mul_mat import one, plain
from op_cases.top_k import argmax

from gguf_run.cuda.activations import activations_as_products_take_them
from gguf_run.cuda.buffer import Buffer
from gguf_run.cuda.capabilities import SHARED_BYTES, full_arch
from gguf_run.cuda.layout import FLOAT_TYPES
from gguf_run.cuda.lowering import ACCEPTS, LOWERINGS, WORKSPACES, Call, Lowering
from gguf_run.cuda.ops.mul_mat_wgmma import TIMES
from gguf_run.fusion import FUSIONS
from gguf_run.graph import Graph, Tensor
from gguf_run.plan import make_plan
from gguf_run.quants import quant_type

MULTIPROCESSORS = {75: 40, 80: 108, 86: 82, 89: 128, 90: 132, 100: 148, 120: 170}
"""Of a GPU of each capability: T4, A100, RTX 3090, RTX 4090, H200, B200, RTX 5090."""

TOO_WIDE = ("flash_attn_ext f32, 8 keys a tile", "flash_attn_ext f32, 4 keys a tile")
"""Heads of over 900 numbers, which no model has: a block of sm_75 has no room for their queries."""

LONG_ROWS = (2560, 9728, 14336, 28672)
"""Numbers in a row of models' weights."""


@functools.cache
def launches(capability: int) -> tuple[Call, ...]:
    """Whatever a GPU of this capability may be given."""
    return tuple(
        c for build in graphs() for fuse in (False, True) for c in calls(build, capability, fuse)
    )


def calls(build: Build, capability: int, fuse: bool) -> list[Call]:
    """What a graph launches on a GPU of a capability."""
    gpu: Any = SimpleNamespace(
        arch=full_arch(capability),
        capability=capability,
        n_sm=MULTIPROCESSORS[capability],
        max_shared=SHARED_BYTES[capability],
        compiles_shapes=False,
    )

    def accepts(op: str, parts: tuple[Tensor, ...]) -> bool:
        return op not in ACCEPTS or ACCEPTS[op](gpu, parts)

    def workspace(op: str, parts: tuple[Tensor, ...]) -> int:
        return WORKSPACES[op](gpu, parts) if op in WORKSPACES else 0

    g = Graph()
    results = build(g)
    for t in (results,) if isinstance(results, Tensor) else results:
        g.output(t)
    cast = activations_as_products_take_them(g, capability)
    plan = make_plan(cast, FUSIONS if fuse else (), workspace, accepts)
    memory = Buffer(1 << 20, 1 << 40, None)
    low = Lowering(gpu, memory, plan.offsets, dict.fromkeys(plan.leaves, memory), [])
    for step in plan.steps:
        LOWERINGS[step.op](low, step)
    return low.calls


def graphs() -> Iterator[Build]:
    """The ops' cases, and what they leave out: every type with every number of tokens and rows."""
    yield from (case.build for case in ALL_CASES if case.name not in TOO_WIDE)
    for dtype in WEIGHT_TYPES:
        yield from (product(dtype, n, 70, 256) for n in (1, 2, 4, 8, 9, 20, 33, 65, 200))
        if quant_type(dtype).block_size < 128:
            yield product(dtype, 65, 70, 192)
        for n in TIMES:
            yield product(dtype, n, 132 * 128, 4096)
            yield from (gated((dtype,) * 2, op, n, 132 * 64, 4096) for op in ("swiglu", "geglu"))
        yield product(dtype, 8, 8000, 256)
        yield from (heads(dtype, n, 2, 70, 256) for n in (1, 8, 9))
        yield from (chosen(dtype, n, 2, 3, 70, 256, own_rows=False) for n in (1, 40))
        yield from (
            Experts(dtype, n, n_expert=2, n_used=1, n_embd=256, n_ff=256).build for n in (66, 400)
        )
        for n_out in (8, 50000):
            yield one(dtype, n_out, 256)
            yield plain(dtype, n_out, 256, bias=False, residual=True)
    for dtype in ("F16", "Q4_0", "Q6_K", "Q8_0"):
        yield from (one(dtype, 10000, n) for n in LONG_ROWS)
        yield from (plain(dtype, 10000, n, bias=True, residual=True) for n in LONG_ROWS)
    for dtype in FLOAT_TYPES:
        yield from (product(dtype, n, 9, 33) for n in (1, 2, 4, 8))
        yield heads(dtype, 12, 2, 9, 33)
    yield from (product("Q4_0", n, 4096, 28672) for n in TIMES)
    for cache in ("F16", "Q8_0", "Q4_0"):
        for size in (64, 96, 128, 256):
            if cache != "Q4_0":
                yield from (Decode(9, (n, 1), size, cache, n_ctx=4096).build for n in (1, 2, 4))
        for sizes in ((96, 96), (192, 128), (256, 256)):
            yield from (
                Attention([(0, n)], (4, 2), sizes, (cache, cache)).build for n in (1, 40, 200)
            )
    for n in (301, 9000):
        yield argmax(300, n)
        yield sums(3, n)
    yield from (delta((2,), (2, 2), (d, 16), start=s) for d in (128, 256) for s in (0, 1))
