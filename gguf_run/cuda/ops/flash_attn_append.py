"""Attention of many tokens with the norms, rotations and appends ahead of it."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace

from gguf_run.cuda.device import Device
from gguf_run.cuda.lowering import Lowering, accepts, kernel_module, lowering, workspace
from gguf_run.cuda.ops.attn_decode import Heads, are_heads, heads_of
from gguf_run.cuda.ops.flash_attn import can_cast, flash_attn_ext, flash_attn_workspace
from gguf_run.cuda.ops.rope import factors_of, rope_struct, turns_bytes
from gguf_run.cuda.ops.set_rows import CACHE_STRUCTS
from gguf_run.fusion import producer
from gguf_run.graph import F32, Kind, RopeMode, RopeParams, Tensor
from gguf_run.plan import ARENA_ALIGNMENT, Step

LANES = (16, 32)
"""Of a warp that share a head, four neighbours each."""
WIDE_HEAD = 256
"""The one size of heads of which a lane has eight elements."""


def _kernel(cache: str, size: int) -> str:
    lanes = LANES[size > 4 * LANES[0]]
    return f"rope_append<{CACHE_STRUCTS[cache]}, {lanes}, {2 if size == WIDE_HEAD else 1}>"


MODULES = {
    cache: kernel_module("rope_append.cu", [_kernel(cache, size) for size in (64, 128, WIDE_HEAD)])
    for cache in CACHE_STRUCTS
}
WARPS = 8
"""Of a block."""


@dataclass(frozen=True, slots=True)
class Appended:
    """What a group does ahead of the attention `out` (kernels/rope_append.cu)."""

    out: Tensor
    q: Heads
    k: Heads
    v: Tensor
    rope: Tensor

    @property
    def weights(self) -> tuple[Tensor | None, Tensor | None]:
        return self.q.weight, self.k.weight

    @property
    def caches(self) -> tuple[Tensor, Tensor]:
        keys, values = (producer(written.srcs[0]) for written in self.out.srcs[1:3])
        return keys, values


def _appended(parts: tuple[Tensor, ...]) -> Appended | None:
    """The group as a launch and an attention, or None where the kernel can't do it."""
    out = next(t for t in parts if t.op == "flash_attn_ext")
    rotated, keys, values = out.srcs[:3]
    if keys.op != "set_rows" or values.op != "set_rows" or keys.srcs[2] is not values.srcs[2]:
        return None
    q, k, v = heads_of(parts, rotated), heads_of(parts, keys.srcs[1]), values.srcs[1]
    if q is None or k is None or not are_heads(v) or (q.weight is None) != (k.weight is None):
        return None
    assert q.rope is not None
    assert k.rope is not None
    same = q.rope.params == k.rope.params and q.rope.srcs[1:] == k.rope.srcs[1:]
    # They are read before the kernel ahead has ended.
    same = same and all(t.kind is Kind.INPUT for t in (q.rope.srcs[1], keys.srcs[2]))
    found = Appended(out, q, k, v, q.rope)
    caches = found.caches
    fits = (
        same
        and caches[0].dtype is caches[1].dtype
        and caches[0].dtype.name in CACHE_STRUCTS
        and all(c.is_contiguous and c.offset == 0 for c in caches)
        and all(w is None or w.dtype is F32 for w in found.weights)
        and v.shape[2] == q.x.shape[2]
        and _can_turn(q.rope)
        and not any(n % 4 for x in (q.x, k.x, v) for n in (x.offset, *x.strides[:2]))
    )
    return found if fits else None


def _can_turn(rope: Tensor) -> bool:
    """Whether a lane has both elements of a pair, or one other lane has the others of all pairs."""
    p, size = rope.params, rope.shape[2]
    assert isinstance(p, RopeParams)
    if size % 4 or (size > 4 * LANES[-1] and size != WIDE_HEAD):
        return False
    if p.mode is not RopeMode.NEOX:
        return p.n_dims % 4 == 0
    return p.n_dims % 8 == 0 and (p.n_dims <= 4 * LANES[-1] or p.n_dims == WIDE_HEAD)


@accepts("flash_attn_append")
def _accepts(device: Device, parts: tuple[Tensor, ...]) -> bool:
    a = _appended(parts)
    last = parts[-1]
    return a is not None and (last is a.out or can_cast(device, a.out, last))


@workspace("flash_attn_append")
def _workspace(device: Device, parts: tuple[Tensor, ...]) -> int:
    """The rotated queries, then what the attention needs."""
    a = _appended(parts)
    assert a is not None
    return _query_bytes(a.rope) + flash_attn_workspace(device, (a.out,))


def _query_bytes(q: Tensor) -> int:
    return -(-q.n_bytes // ARENA_ALIGNMENT) * ARENA_ALIGNMENT


@lowering("flash_attn_append")
def flash_attn_append(low: Lowering, step: Step) -> None:
    """Queries into the workspace, keys and values into the caches (rope_append.cu); attention."""
    a = _appended(step.parts)
    assert a is not None
    assert step.workspace is not None
    _prepare(low, step, a)
    inside = replace(low, offsets={**low.offsets, a.rope: step.workspace})
    after = step.workspace + _query_bytes(a.rope)
    results = (a.out, step.parts[-1]) if step.parts[-1].op == "cast" else (a.out,)
    flash_attn_ext(inside, replace(step, parts=results, workspace=after))


def _prepare(low: Lowering, step: Step, a: Appended) -> None:
    (n_tok, n_head, size), n_kv = a.q.x.shape, a.k.x.shape[1]
    positions, slots, factors = a.rope.srcs[1], a.out.srcs[1].srcs[2], factors_of(a.rope)
    assert isinstance(a.rope.params, RopeParams)
    keys, values = a.caches
    n_all = n_head + 2 * n_kv
    per_round = WARPS * (2 if size <= 4 * LANES[0] else 1)
    # Heads of few tokens are shared out, so that there are enough blocks.
    shares = min(-(-n_all // per_round), max(1, 2 * low.device.n_sm // n_tok))
    low.launch(
        MODULES[keys.dtype.name],
        _kernel(keys.dtype.name, size),
        grid=(n_tok, shares),
        block=32 * WARPS,
        shared=turns_bytes(a.rope.params),
        pdl=low.device.capability >= 90,
        args=[
            *(None if t is None else low.at(t) for t in (a.q.x, a.k.x, a.v, *a.weights)),
            low.at(positions),
            low.at(slots),
            None if factors is None else low.at(factors),
            low.workspace(step),
            low.at(keys),
            low.at(values),
            rope_struct(a.rope.params),
            _heads_struct(a),
        ],
    )


def _heads_struct(a: Appended) -> bytes:
    """The struct `Heads` of kernels/rope_append.cu."""
    strides = [n for t in (a.q.x, a.k.x, a.v) for n in t.strides[:2]]
    sizes = (a.q.x.shape[1], a.k.x.shape[1], a.q.x.shape[2], a.out.srcs[1].shape[2])
    return struct.pack("<6q 2f 4i", *strides, a.q.eps, a.k.eps, *sizes)
