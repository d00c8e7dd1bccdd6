"""Attention over the paged KV cache: which kernel, how many rows a block, how many parts of keys.

`choose` decides from shapes and types alone, so that the plan can ask for the workspace first.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from gguf_run.cuda.device import Buffer, Device
from gguf_run.cuda.lowering import Lowering, kernel_module, lowering, workspace
from gguf_run.cuda.ops.flash_attn_mma import Fit, fits
from gguf_run.cuda.ops.flash_attn_wgmma import Wide, tensor_map, wide_for
from gguf_run.cuda.ops.set_rows import CACHE_STRUCTS, cache_struct
from gguf_run.graph import F16_TILES, AttentionParams, Tensor
from gguf_run.plan import Step

VEC_COLUMNS = (1, 4)
"""Columns of V that a thread has."""


def _vec(columns: int) -> str:
    return f"flash_attn_ext_f32_vec<{columns}>"


VEC = kernel_module("flash_attn_vec.cu", [_vec(n) for n in VEC_COLUMNS])
COMBINE = kernel_module("flash_attn_combine.cu", ["flash_attn_combine_f32"])

TILED_SIZES = (64, 128, 256)
"""Of heads whose results the kernel for many tokens can cast."""
VEC_ROWS, VEC_BLOCK = 16, 128
VEC_WEIGHT_PITCH = VEC_ROWS + 4
MOST_PARTS = 128
"""Parts of the keys: more would cost the merge more than they spread."""
EVERYTHING = 1 << 30
"""Keys ahead of a position that sees all of its sequence."""
VEC_BLOCKS, MMA_BLOCKS = 4, 2
"""Blocks that a multiprocessor runs at once: the parts of the keys make one such round."""


@dataclass(frozen=True, slots=True)
class Choice:
    """How an attention runs: tiles of `rows` packed rows, keys in `n_split` parts.

    `wide` is the kernel for many tokens, `fit` the tensor-core kernel for all others; without both
    the vector kernel takes `n_key` keys at a time.
    """

    rows: int
    n_tile: int
    n_split: int
    fit: Fit | None
    n_key: int = 0
    wide: Wide | None = None


def choose(device: Device, t: Tensor) -> Choice:
    """The kernel and its split for the attention `t` on `device`."""
    q, k = t.srcs[:2]
    n_packed = q.shape[0] * _group(t)
    n_row = _rows_per_tile(t, n_packed)
    wide = wide_for(device, t, n_row)
    if wide:
        n_tile = -(-n_packed // wide.rows)
        n_split = _parts(t, device.n_sm, n_tile * k.shape[1])
        return Choice(wide.rows, n_tile, n_split, None, wide=wide)
    fit = next(fits(device, t, n_row), None)
    most = fit.instance.shape.rows if fit else VEC_ROWS
    rows = _rows_per_tile(t, most)
    n_tile = -(-n_packed // rows)
    if fit:
        wanted = device.n_sm * min(MMA_BLOCKS, fit.n_block)
        return Choice(rows, n_tile, _parts(t, wanted, n_tile * k.shape[1]), fit)
    n_split = _parts(t, device.n_sm * VEC_BLOCKS, n_tile * k.shape[1] * _vec_blocks(t))
    return Choice(rows, n_tile, n_split, None, _vec_keys(device, q.shape[2]))


def _group(t: Tensor) -> int:
    """Query heads that read one KV head."""
    return t.srcs[0].shape[1] // t.srcs[1].shape[1]


def _rows_per_tile(t: Tensor, most: int) -> int:
    """Packed rows a tile: whole tokens where every token has a sequence of its own."""
    n_tok, n_seq, group = t.shape[0], t.srcs[5].shape[0], _group(t)
    if n_tok != n_seq:
        return most
    return -(-group // -(-group // most))


def _parts(t: Tensor, wanted: int, n_block: int) -> int:
    """Parts of the keys such that at most `wanted` blocks run, none with less than a page."""
    return max(1, min(wanted // n_block, t.srcs[5].shape[1], MOST_PARTS))


def _vec_keys(device: Device, d_k: int) -> int:
    """Keys a tile of the vector kernel: the most that leave room for a few blocks."""
    for n_key in (32, 16, 8):
        if _vec_shared(d_k, n_key) <= min(device.max_shared // 2, 76 * 1024):
            return n_key
    return 4


def _vec_shared(d_k: int, n_key: int) -> int:
    return 4 * (VEC_ROWS * d_k + n_key * (_vec_pitch(d_k, n_key) + VEC_WEIGHT_PITCH))


def _vec_pitch(d_k: int, n_key: int) -> int:
    """Floats from one key to the next: the lanes of a warp, of which `VEC_BLOCK / n_key` read
    neighbours in one key, find them in different banks."""
    return d_k + (VEC_BLOCK // n_key - d_k) % 32


def _vec_columns(t: Tensor) -> int:
    return VEC_COLUMNS[t.shape[2] > VEC_BLOCK]


def _vec_blocks(t: Tensor) -> int:
    """Blocks that share the columns of V."""
    return -(-t.shape[2] // (VEC_BLOCK * _vec_columns(t)))


def can_cast(device: Device, t: Tensor, cast: Tensor) -> bool:
    """Whether the kernel for the attention `t` can write its results as `cast` wants them."""
    choice, rows = choose(device, t), cast.srcs[0]
    whole = rows.is_contiguous and rows.n_elements == t.n_elements and len(rows.shape) == 2
    fits = choice.wide is not None and choice.n_split == 1 and t.shape[2] in TILED_SIZES
    return fits and whole and rows.shape[0] == t.shape[0] and cast.dtype is F16_TILES


@workspace("flash_attn_ext")
def flash_attn_workspace(device: Device, parts: tuple[Tensor, ...]) -> int:
    """Bytes of the partial results: none where the keys are not split."""
    t = parts[0]
    n_split = choose(device, t).n_split
    n_tok, n_head, d_v = t.shape
    n_part = n_tok * n_head * n_split
    return 8 * (n_part + n_part % 2) + 4 * n_part * d_v if n_split > 1 else 0


@lowering("flash_attn_ext")
def flash_attn_ext(low: Lowering, step: Step) -> None:
    """Attention, and the merge of its parts where the keys are split; cast where a cast follows."""
    t, out = step.parts[0], step.parts[-1]
    choice = choose(low.device, t)
    scratch = low.workspace(step) if choice.n_split > 1 else None
    _attend(low, t, choice, scratch, out)
    if scratch is None:
        return
    n_tok, n_head, d_v = t.shape
    low.launch(
        COMBINE,
        "flash_attn_combine_f32",
        grid=n_tok * n_head,
        block=128,
        # Whole groups of eight: the compiler loads the unrolled loop's weights side by side.
        shared=4 * (-(-choice.n_split // 8) * 8),
        args=[scratch, _sinks(low, t), low.at(t), attention_struct(t, choice), d_v],
        pdl=low.device.capability >= 90,
    )


def _attend(low: Lowering, t: Tensor, c: Choice, scratch: Buffer | None, out: Tensor) -> None:
    q, k, v, positions, seq_ids, block_table = t.srcs[:6]
    d_k, d_v = q.shape[2], t.shape[2]
    arguments = [
        *(low.at(x) for x in (q, k, v, positions, seq_ids, block_table)),
        _sinks(low, t),
        low.at(out),
        scratch,
        attention_struct(t, c),
    ]
    if c.wide:
        low.launch(
            c.wide.module,
            c.wide.kernel,
            grid=(k.shape[1], c.n_tile, c.n_split),
            block=c.wide.threads,
            shared=c.wide.shared,
            args=[
                arguments[0],
                *(tensor_map(low, c) for c in (k, v)),
                *arguments[3:],
                int(out is not t),
            ],
        )
        return
    types = [list(CACHE_STRUCTS.values()).index(cache_struct(cache)) for cache in (k, v)]
    if c.fit:
        instance = c.fit.instance
        low.launch(
            instance.module,
            instance.kernel,
            grid=(c.n_tile, k.shape[1], c.n_split),
            block=instance.shape.threads,
            shared=c.fit.shared,
            pdl=low.device.capability >= 90,
            args=[*arguments, *types, c.fit.n_stage],
        )
    else:
        low.launch(
            VEC,
            _vec(_vec_columns(t)),
            grid=(c.n_tile, k.shape[1] * _vec_blocks(t), c.n_split),
            block=VEC_BLOCK,
            shared=_vec_shared(d_k, c.n_key),
            args=[*arguments, *types, d_k, d_v, c.n_key, _vec_pitch(d_k, c.n_key)],
        )


def _sinks(low: Lowering, t: Tensor) -> Buffer | None:
    return low.at(t.srcs[6]) if len(t.srcs) > 6 else None


def attention_struct(t: Tensor, c: Choice) -> bytes:
    """The struct `Attention` of kernels/flash_attn.cuh, which see."""
    q, k, v, _, _, block_table = t.srcs[:6]
    p = t.params
    assert isinstance(p, AttentionParams)
    strides = [*q.strides[:2], _row_bytes(k), _row_bytes(v)]
    window, reach = _sight(p)
    sizes = [
        window,
        reach,
        p.chunk,
        *q.shape[:2],
        k.shape[1],
        block_table.shape[1],
        k.shape[2],
        c.rows,
        c.n_split,
    ]
    return struct.pack("<4q 3f 10i 4x", *strides, p.scale, p.softcap, p.max_bias, *sizes)


def _sight(p: AttentionParams) -> tuple[int, int]:
    """How many neighbouring keys a position sees, 0 for no bound; how many of them lie ahead."""
    if p.causal:
        return p.window, 0
    half = p.window // 2
    return (2 * half + 1, half) if p.window else (0, EVERYTHING)


def _row_bytes(cache: Tensor) -> int:
    """Bytes from one key's row to the next; a view shows part of each row."""
    return cache.dtype.row_bytes(cache.strides[2])
