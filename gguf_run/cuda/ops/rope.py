"""RoPE on the device: its parameters as the kernels take them, and the plain op."""

from __future__ import annotations

import struct
from math import ceil, floor, log, log2, pi

from gguf_run.cuda.lowering import Lowering, kernel_module, lowering
from gguf_run.errors import DeviceError
from gguf_run.graph import F32, RopeMode, RopeParams, Tensor
from gguf_run.plan import Step

ROPE = kernel_module("rope.cu", ["rope_f32"])
BLOCK = 128
ELEMENTS = 1024
"""What a block rotates: enough to be worth the turns that it computes first."""


def rope_struct(p: RopeParams) -> bytes:
    """`p` as the struct `Rope` of kernels/rope.cuh, which see."""
    step = 2 * log2(p.freq_base) / p.n_dims
    first, slope, magnitude = 0.0, 0.0, p.attn_factor
    if p.ext_factor:
        low = max(0, floor(_pair_that_turns(p, p.beta_fast)))
        high = min(p.n_dims - 1, ceil(_pair_that_turns(p, p.beta_slow)))
        first, slope = low, 1 / max(0.001, high - low)
        magnitude *= 1 + 0.1 * log(1 / p.freq_scale)
    neox = p.mode is RopeMode.NEOX
    scaling = (step, p.freq_scale, p.ext_factor, first, slope, magnitude)
    return struct.pack("<5d f 2i 4x", *scaling, p.n_dims, neox)


def _pair_that_turns(p: RopeParams, times: float) -> float:
    """The (fractional) pair that turns `times` times over the original context (arXiv:2309.00071,
    section 3.2)."""
    return p.n_dims * log(p.n_ctx_orig / (times * 2 * pi)) / (2 * log(p.freq_base))


def turns_bytes(p: RopeParams) -> int:
    """Shared memory that a block needs for the turns of one token."""
    return p.n_dims // 2 * 8


def factors_of(rope: Tensor) -> Tensor | None:
    """The frequency divisors of a rope op, if it has any; its kernels read them as F32."""
    factors = rope.srcs[2] if len(rope.srcs) > 2 else None
    if factors is not None and factors.dtype is not F32:
        raise DeviceError(f"rope: expected frequency factors of type F32, found {factors}")
    return factors


def heads_per_block(head_dim: int) -> int:
    """How many heads of a token a block handles."""
    return max(1, ELEMENTS // head_dim)


@lowering("rope")
def rope(low: Lowering, step: Step) -> None:
    """Rotate the heads of every token (rope.cu)."""
    out = step.parts[0]
    x, positions = out.srcs[:2]
    assert isinstance(out.params, RopeParams)
    factors = factors_of(out)
    n_tok, n_head, head_dim = x.shape
    heads = heads_per_block(head_dim)
    low.launch(
        ROPE,
        "rope_f32",
        grid=(n_tok, -(-n_head // heads)),
        block=BLOCK,
        shared=turns_bytes(out.params),
        args=[
            low.at(x),
            low.at(positions),
            None if factors is None else low.at(factors),
            low.at(out),
            rope_struct(out.params),
            n_head,
            head_dim,
            heads,
            x.strides[0],
            x.strides[1],
        ],
    )
