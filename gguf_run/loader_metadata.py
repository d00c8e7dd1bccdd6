"""The key-value pairs of a GGUF header."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from gguf_run.loader_cursor import Cursor, shown

NumericArray: TypeAlias = npt.NDArray[np.generic]
MetaValue: TypeAlias = "bool | int | float | str | list[str] | list[MetaValue] | NumericArray"
"""A value: arrays of numbers and booleans are NumPy's, arrays of strings and of arrays lists."""

DEFAULT_ALIGNMENT = 32
MAX_KEY_BYTES = 65535
MAX_DEPTH = 8
"""Levels of arrays in arrays that are followed: real files have one, and recursion must end."""

_BOOL, _STRING, _ARRAY = 7, 8, 9
_NUMBERS: dict[int, np.dtype[np.generic]] = {
    0: np.dtype("<u1"),
    1: np.dtype("<i1"),
    2: np.dtype("<u2"),
    3: np.dtype("<i2"),
    4: np.dtype("<u4"),
    5: np.dtype("<i4"),
    6: np.dtype("<f4"),
    _BOOL: np.dtype("?"),
    10: np.dtype("<u8"),
    11: np.dtype("<i8"),
    12: np.dtype("<f8"),
}
_U32 = 4
_ARRAY_HEAD_BYTES = 12
MIN_PAIR_BYTES = 8 + 1 + 4 + 1


def read_metadata(cursor: Cursor, n_pairs: int) -> tuple[dict[str, MetaValue], int]:
    """Read the pairs, and what they say of the file itself.

    Returns:
        The pairs in the file's order, and the alignment of tensor data in bytes.

    Raises:
        GGUFError: a pair is malformed.
    """
    metadata: dict[str, MetaValue] = {}
    alignment = DEFAULT_ALIGNMENT
    for i in range(n_pairs):
        cursor.subject = f"metadata pair {i} of {n_pairs}"
        key = _read_key(cursor, metadata)
        cursor.subject = f"key {shown(key)}"
        at = cursor.pos
        kind = cursor.u32("type of the value")
        metadata[key] = value = _read_value(cursor, kind, at)
        if key == "general.alignment":
            alignment = _checked_alignment(cursor, kind, value, at)
    return metadata, alignment


def _read_key(cursor: Cursor, seen: dict[str, MetaValue]) -> str:
    at = cursor.pos
    n_bytes = cursor.count("length of the key", 1)
    if not 0 < n_bytes <= MAX_KEY_BYTES:
        cursor.fail(f"a key of 1 to {MAX_KEY_BYTES} bytes", f"one of {n_bytes}", at)
    key = cursor.text(n_bytes)
    if key in seen:
        cursor.fail("each key once", f"{shown(key)} again", at)
    return key


def _read_value(cursor: Cursor, kind: int, at: int) -> MetaValue:
    if kind == _STRING:
        return cursor.string("the string")
    if kind == _ARRAY:
        return _read_array(cursor, 1)
    dtype = _number_type(cursor, kind, at)
    value: bool | int | float = _read_numbers(cursor, dtype, 1)[0].item()
    return value


def _read_array(cursor: Cursor, depth: int) -> MetaValue:
    at = cursor.pos
    if depth > MAX_DEPTH:
        cursor.fail(f"arrays at most {MAX_DEPTH} deep", "one more in the innermost", at)
    kind = cursor.u32("type of the array's items")
    if kind == _STRING:
        return cursor.strings(cursor.count("number of strings", 8))
    if kind == _ARRAY:
        n = cursor.count("number of arrays", _ARRAY_HEAD_BYTES)
        return [_read_array(cursor, depth + 1) for _ in range(n)]
    dtype = _number_type(cursor, kind, at)
    return _read_numbers(cursor, dtype, cursor.count("number of items", dtype.itemsize))


def _number_type(cursor: Cursor, kind: int, at: int) -> np.dtype[np.generic]:
    if kind not in _NUMBERS:
        cursor.fail("a value type of 0 to 12", str(kind), at)
    return _NUMBERS[kind]


def _read_numbers(cursor: Cursor, dtype: np.dtype[np.generic], n: int) -> NumericArray:
    """Copy ``n`` numbers, so that they outlive the mapping."""
    at = cursor.pos
    raw = cursor.fixed(n * dtype.itemsize, f"{dtype.name} value")
    if dtype.kind == "b" and (wrong := raw.translate(None, b"\0\1")):
        cursor.fail("booleans of 0 or 1", f"the byte {wrong[0]}", at)
    return np.frombuffer(raw, dtype)


def _checked_alignment(cursor: Cursor, kind: int, value: MetaValue, at: int) -> int:
    if kind != _U32 or not isinstance(value, int) or value.bit_count() != 1:
        cursor.fail("a u32 that is a power of two", f"type {kind}, value {shown(value)}", at)
    return value
