"""Attention of one token with the norms and rotations before it and the append to the cache."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from gguf_run.cuda import tuning
from gguf_run.cuda.device import Device
from gguf_run.cuda.lowering import Lowering, accepts, kernel_module, lowering, workspace
from gguf_run.cuda.ops.flash_attn import Choice, attention_struct
from gguf_run.cuda.ops.rope import factors_of, rope_struct
from gguf_run.cuda.ops.set_rows import CACHE_STRUCTS
from gguf_run.cuda.tuning import BULK
from gguf_run.fusion import producer
from gguf_run.graph import F32, AttentionParams, Kind, NormParams, RopeParams, Tensor
from gguf_run.plan import Step

CACHES = ("F16", "Q8_0")
HEAD_SIZES = (64, 96, 128, 256)
COLUMNS = 8
"""Query heads that may share the loads of a block (of size 256: half as many)."""
MAX_SETS, MAX_PARTS = 1024, 128
BLOCK = 256


def _kernel(cache: str, size: int) -> str:
    return f"attn_decode<{CACHE_STRUCTS[cache]}, {size}>"


MODULES = {
    (cache, size): kernel_module("attn_decode.cu", [_kernel(cache, size)])
    for cache in CACHES
    for size in HEAD_SIZES
}
"""A kernel each: a model needs one."""


@dataclass(frozen=True, slots=True)
class Heads:
    """Heads before norm and rotation: x (1, n_head, size); `weight` and `eps` where normalised."""

    x: Tensor
    weight: Tensor | None
    eps: float
    rope: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Attend:
    """What a group computes, see kernels/attn_decode.cu."""

    out: Tensor
    q: Heads
    k: Heads
    v: Tensor
    slots: Tensor

    @property
    def size(self) -> int:
        return self.out.shape[2]

    @property
    def n_key(self) -> int:
        """Keys that the block table has room for."""
        return self.out.srcs[5].shape[1] * self.out.srcs[1].shape[2]


def _attend(parts: tuple[Tensor, ...]) -> Attend | None:
    """The group as one launch, or None where it is none that the kernel can do."""
    out = next(t for t in parts if t.op == "flash_attn_ext")
    q, keys, values, positions = out.srcs[:4]
    if out.shape[0] != 1 or keys.op != "set_rows" or values.op != "set_rows":
        return None
    found = heads_of(parts, q), heads_of(parts, keys.srcs[1])
    v, slots = values.srcs[1:]
    if found[0] is None or found[1] is None or keys.srcs[2] is not slots or not are_heads(v):
        return None
    turns = [h.rope for h in found if h is not None and h.rope is not None]
    same = turns[0].params == turns[1].params and turns[0].srcs[1:] == turns[1].srcs[1:]
    # What changes from step to step is read before the kernel ahead has ended.
    inputs = all(t.kind is Kind.INPUT for t in (slots, *out.srcs[3:6]))
    if not same or not inputs or turns[0].srcs[1] is not positions:
        return None
    return Attend(out, found[0], found[1], v, slots) if _fits(out, keys, values) else None


def heads_of(parts: tuple[Tensor, ...], rotated: Tensor) -> Heads | None:
    """What `rotated` is a rotation of, past a norm and its weight."""
    if rotated.op != "rope":
        return None
    x = rotated.srcs[0]
    if producer(x) not in parts:
        return Heads(x, None, 0.0, rotated) if are_heads(x) else None
    if x not in parts:  # all heads of a token were normalised as one row
        return None
    normed, weight = x.srcs
    if normed.op != "rms_norm":
        normed, weight = weight, normed
    is_row = weight.kind is Kind.WEIGHT and weight.shape == x.shape[-1:]
    if normed.op != "rms_norm" or not is_row or not are_heads(normed.srcs[0]):
        return None
    assert isinstance(normed.params, NormParams)
    return Heads(normed.srcs[0], weight, normed.params.eps, rotated)


def are_heads(x: Tensor) -> bool:
    return len(x.shape) == 3 and x.dtype is F32 and x.strides[2] == 1


def _fits(out: Tensor, keys: Tensor, values: Tensor) -> bool:
    """Whether there are kernels for these types, sizes and parameters."""
    p = out.params
    assert isinstance(p, AttentionParams)
    return (
        p.causal
        and not p.max_bias
        and not p.chunk
        and keys.dtype is values.dtype
        and keys.dtype.name in CACHES
        and keys.shape == values.shape
        and keys.is_contiguous
        and values.is_contiguous
        and keys.shape[3] in HEAD_SIZES
        and keys.shape[2] % 32 == 0
        and keys.shape[2].bit_count() == 1
        and _n_set(out.shape[1], *keys.shape[1::2]) <= MAX_SETS
    )


def _per_set(size: int) -> int:
    return COLUMNS // 2 if size == 256 else COLUMNS


def _n_set(n_head: int, n_kv: int, size: int) -> int:
    """Sets of query heads: up to so many of one KV head."""
    return n_kv * -(-n_head // n_kv // _per_set(size))


def _grid(device: Device, a: Attend) -> tuple[int, int, int]:
    """Sets of a KV head, KV heads, and the most parts of the keys that each set gets."""
    choice, n_kv = tuning.attention(device), a.k.x.shape[1]
    n_set = _n_set(a.q.x.shape[1], n_kv, a.size)
    n_part = min(device.n_sm // n_set, -(-a.n_key // choice.least), MAX_PARTS)
    return n_set // n_kv, n_kv, max(1, n_part if a.n_key > 2 * choice.least else 1)


@workspace("attn_decode")
def _workspace(device: Device, parts: tuple[Tensor, ...]) -> int:
    """The partial results: a pair and a row a head and part."""
    a = _attend(parts)
    assert a is not None
    n_set, n_kv, n_part = _grid(device, a)
    return 4 * _per_set(a.size) * n_set * n_kv * n_part * (2 + a.size) if n_part > 1 else 0


@accepts("attn_decode")
def _accepts(device: Device, parts: tuple[Tensor, ...]) -> bool:
    return _attend(parts) is not None


@lowering("attn_decode")
def attn_decode(low: Lowering, step: Step) -> None:
    """One launch for the whole group (attn_decode.cu)."""
    a = _attend(step.parts)
    assert a is not None
    rope = a.q.rope
    assert rope is not None
    assert isinstance(rope.params, RopeParams)
    keys, values, positions, seq_ids, block_table = a.out.srcs[1:6]
    factors, choice = factors_of(rope), tuning.attention(low.device)
    cache = keys.dtype.name
    grid, group = _grid(low.device, a), a.q.x.shape[1] // a.k.x.shape[1]
    unrotated = replace(a.out, srcs=(a.q.x, *a.out.srcs[1:]))
    low.launch(
        MODULES[cache, a.size],
        _kernel(cache, a.size),
        grid=grid,
        block=BLOCK,
        pdl=tuning.generation(low.device) == BULK,
        args=[
            *(low.at(t) for t in (a.q.x, a.k.x, a.v)),
            *(_maybe(low, h.weight) for h in (a.q, a.k)),
            *(low.at(t) for t in (positions, a.slots, seq_ids, block_table)),
            _maybe(low, factors),
            _maybe(low, a.out.srcs[6] if len(a.out.srcs) > 6 else None),
            *(low.at(producer(t.srcs[0])) for t in (keys, values)),
            low.at(a.out),
            low.workspace(step) if grid[2] > 1 else None,
            attention_struct(unrotated, Choice(1, 1, grid[2], None)),
            rope_struct(rope.params),
            a.k.x.strides[1],
            a.v.strides[1],
            a.q.eps,
            a.k.eps,
            group,
            -(-group // grid[0]),
            choice.least,
            choice.trigger,
        ],
    )


def _maybe(low: Lowering, t: Tensor | None) -> Any:
    return None if t is None else low.at(t)
