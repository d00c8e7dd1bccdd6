"""Append to the paged KV cache, rotated first where the two are fused."""

from __future__ import annotations

from typing import Any

from gguf_run.cuda.device import Device
from gguf_run.cuda.lowering import Lowering, accepts, kernel_module, lowering
from gguf_run.cuda.ops.rope import factors_of, heads_per_block, rope_struct, turns_bytes
from gguf_run.errors import DeviceError
from gguf_run.graph import RopeParams, Tensor
from gguf_run.plan import Step

CACHE_STRUCTS = {"F32": "CacheF32", "F16": "CacheF16", "Q8_0": "CacheQ8_0", "Q4_0": "CacheQ4_0"}
"""The struct of kernels/cache_types.cuh by cache type: what a KV cache may be made of."""

MODULES = {
    name: kernel_module("set_rows.cu", [f"set_rows<{struct}>", f"rope_set_rows<{struct}>"])
    for name, struct in CACHE_STRUCTS.items()
}
BLOCK = 128


def cache_struct(cache: Tensor) -> str:
    """The kernels' name of a cache's type; `DeviceError` where there is none."""
    if cache.dtype.name not in CACHE_STRUCTS:
        types = ", ".join(CACHE_STRUCTS)
        raise DeviceError(f"expected a KV cache of type {types}, found {cache}; see -ctk, -ctv")
    return CACHE_STRUCTS[cache.dtype.name]


@lowering("set_rows")
def set_rows(low: Lowering, step: Step) -> None:
    """Rows into their slots (set_rows.cu)."""
    cache, rows, slots = step.parts[0].srcs
    _launch(low, "set_rows", cache, rows, [low.at(rows), low.at(slots), low.at(cache)])


@accepts("rope_set_rows")
def appends_whole_heads(device: Device, parts: tuple[Tensor, ...]) -> bool:
    """Whether the rotated heads are appended as they are, not in another shape or in part."""
    rope, written = parts
    return written.srcs[1].shape == rope.shape


@lowering("rope_set_rows")
def rope_set_rows(low: Lowering, step: Step) -> None:
    """Rotated rows into their slots; the rotated rows themselves are not written."""
    rope, written = step.parts
    cache, _, slots = written.srcs
    assert isinstance(rope.params, RopeParams)
    x, positions = rope.srcs[:2]
    factors = factors_of(rope)
    divisors = None if factors is None else low.at(factors)
    args: list[Any] = [low.at(x), low.at(positions), divisors, low.at(slots), low.at(cache)]
    args.append(rope_struct(rope.params))
    _launch(low, "rope_set_rows", cache, x, args, turns_bytes(rope.params))


def _launch(
    low: Lowering, kernel: str, cache: Tensor, rows: Tensor, args: list[Any], shared: int = 0
) -> None:
    struct = cache_struct(cache)
    n_tok, n_head, n_col = rows.shape
    heads = heads_per_block(n_col)
    low.launch(
        MODULES[cache.dtype.name],
        f"{kernel}<{struct}>",
        grid=(n_tok, -(-n_head // heads)),
        block=BLOCK,
        shared=shared,
        args=[*args, n_head, n_col, heads, cache.shape[2], rows.strides[0], rows.strides[1]],
    )
