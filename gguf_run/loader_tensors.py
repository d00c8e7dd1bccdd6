"""The tensor table of a GGUF header: names, shapes, types, and where the data lie."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

from gguf_run.loader_cursor import Cursor, shown
from gguf_run.quants import QUANT_TYPES, QuantType

MAX_DIMS = 4
MAX_NAME_BYTES = 63
_MAX_ELEMENTS = 2**63 - 1
MIN_TENSOR_BYTES = 8 + 1 + 4 + 8 + 4 + 8

_REMOVED = {4: "Q4_2", 5: "Q4_3"}
_REMOVED |= {31: "Q4_0_4_4", 32: "Q4_0_4_8", 33: "Q4_0_8_8"}
_REMOVED |= {36: "IQ4_NL_4_4", 37: "IQ4_NL_4_8", 38: "IQ4_NL_8_8"}


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor of a file.

    Attributes:
        name: its name, unique among all shards.
        type: how its elements are stored.
        shape: NumPy order, slowest axis first; each at least 1.
        offset: of its first byte in its own file.
        n_bytes: the bytes it takes, without padding.
        shard: number of its file among the shards, from 0.
        path: that file.
    """

    name: str
    type: QuantType
    shape: tuple[int, ...]
    offset: int
    n_bytes: int
    shard: int
    path: Path


def read_tensors(
    cursor: Cursor, n_tensors: int, alignment: int, shard: int, path: Path
) -> dict[str, TensorInfo]:
    """Read the table and check that the data follow it, contiguous up to padding.

    Raises:
        GGUFError: a tensor is malformed, or its data are not where they must be.
    """
    # Offsets count from the start of the data, which is known once the table has been read.
    tensors: dict[str, TensorInfo] = {}
    data_end = 0
    for i in range(n_tensors):
        cursor.subject = f"tensor {i} of {n_tensors}"
        name = _read_name(cursor, tensors)
        cursor.subject = f"tensor {shown(name)}"
        shape = _read_shape(cursor)
        kind = _read_type(cursor, shape)
        n_bytes = prod(shape[:-1]) * kind.row_bytes(shape[-1])
        offset = _read_offset(cursor, padded(data_end, alignment), alignment)
        data_end = offset + n_bytes
        tensors[name] = TensorInfo(name, kind, shape, offset, n_bytes, shard, path)
    start = padded(cursor.pos, alignment)
    return {name: _placed(cursor, info, start) for name, info in tensors.items()}


def _placed(cursor: Cursor, info: TensorInfo, start: int) -> TensorInfo:
    """The tensor with its offset counted from the start of the file, if the file reaches so far."""
    offset = start + info.offset
    if offset + info.n_bytes > cursor.size:
        cursor.subject = f"data of tensor {shown(info.name)}"
        found = f"the end of the file at byte {cursor.size}: it is cut short"
        cursor.fail(f"{info.n_bytes} bytes, up to byte {offset + info.n_bytes}", found, offset)
    return replace(info, offset=offset)


def padded(n_bytes: int, alignment: int) -> int:
    """The next multiple of ``alignment``, a power of two."""
    return (n_bytes + alignment - 1) & -alignment


def _read_name(cursor: Cursor, seen: dict[str, TensorInfo]) -> str:
    at = cursor.pos
    n_bytes = cursor.count("length of the name", 1)
    if not 0 < n_bytes <= MAX_NAME_BYTES:
        cursor.fail(f"a name of 1 to {MAX_NAME_BYTES} bytes", f"one of {n_bytes}", at)
    name = cursor.text(n_bytes)
    if name in seen:
        cursor.fail("each tensor once", f"{shown(name)} again", at)
    return name


def _read_shape(cursor: Cursor) -> tuple[int, ...]:
    at = cursor.pos
    n_dims = cursor.u32("number of dimensions")
    if not 0 < n_dims <= MAX_DIMS:
        cursor.fail(f"1 to {MAX_DIMS} dimensions", str(n_dims), at)
    # GGUF has the fastest axis first.
    shape = tuple(cursor.u64("dimension") for _ in range(n_dims))[::-1]
    if not 0 < prod(shape) <= _MAX_ELEMENTS:
        cursor.fail("1 to 2**63 - 1 elements", f"shape {shape}", at)
    return shape


def _read_type(cursor: Cursor, shape: tuple[int, ...]) -> QuantType:
    at = cursor.pos
    number = cursor.u32("tensor type")
    if number in _REMOVED:
        found = f"{number}, {_REMOVED[number]}, which ggml has removed; convert the model again"
        cursor.fail("a tensor type in use", found, at)
    if number not in QUANT_TYPES:
        known = f"a known tensor type (0 to {max(QUANT_TYPES)})"
        cursor.fail(known, f"{number}; a newer llama.cpp or a fork of it may have written it", at)
    kind = QUANT_TYPES[number]
    if shape[-1] % kind.block_size:
        rows = f"rows of whole {kind.name} blocks of {kind.block_size} elements"
        cursor.fail(rows, f"rows of {shape[-1]}", at)
    return kind


def _read_offset(cursor: Cursor, expected: int, alignment: int) -> int:
    at = cursor.pos
    offset = cursor.u64("offset of the data")
    if offset != expected:
        if offset % alignment:
            fault = f"misaligned to {alignment}"
        else:
            fault = "an overlap" if offset < expected else "a gap"
        where = f"data at offset {expected}, right after the tensor before"
        cursor.fail(where, f"{offset} ({fault})", at)
    return offset
