"""Writes GGUF files piece by piece, so that a test can make any piece wrong."""

from __future__ import annotations

import struct
from collections.abc import Sequence

KIND = {
    "u8": (0, "<B"),
    "i8": (1, "<b"),
    "u16": (2, "<H"),
    "i16": (3, "<h"),
    "u32": (4, "<I"),
    "i32": (5, "<i"),
    "f32": (6, "<f"),
    "bool": (7, "<?"),
    "u64": (10, "<Q"),
    "i64": (11, "<q"),
    "f64": (12, "<d"),
}
STRING, ARRAY = 8, 9


def u32(number: int) -> bytes:
    return struct.pack("<I", number)


def u64(number: int) -> bytes:
    return struct.pack("<Q", number)


def string(text: str | bytes) -> bytes:
    raw = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
    return u64(len(raw)) + raw


def array(kind: int, items: Sequence[bytes]) -> bytes:
    """The payload of an array: kind of its items, their number, the items."""
    return u32(kind) + u64(len(items)) + b"".join(items)


def pair(key: str | bytes, kind: int, payload: bytes) -> bytes:
    return string(key) + u32(kind) + payload


def number(key: str, kind: str, value: float) -> bytes:
    """A pair of one number."""
    code, form = KIND[kind]
    return pair(key, code, struct.pack(form, value))


def text(key: str, value: str | bytes) -> bytes:
    """A pair of one string."""
    return pair(key, STRING, string(value))


def tensor(
    name: str | bytes, ne: Sequence[int], kind: int = 0, offset: int = 0, n_dims: int | None = None
) -> bytes:
    """A row of the tensor table; ``ne`` has the fastest axis first, as the file has."""
    count = len(ne) if n_dims is None else n_dims
    return string(name) + u32(count) + b"".join(map(u64, ne)) + u32(kind) + u64(offset)


def gguf(
    pairs: Sequence[bytes] = (),
    tensors: Sequence[bytes] = (),
    data: bytes = b"",
    *,
    version: int = 3,
    n_pairs: int | None = None,
    n_tensors: int | None = None,
    alignment: int = 32,
) -> bytes:
    """A whole file: header, padding, data; the counts are the true ones if not given."""
    head = b"GGUF" + u32(version)
    head += u64(len(tensors) if n_tensors is None else n_tensors)
    head += u64(len(pairs) if n_pairs is None else n_pairs)
    head += b"".join(pairs) + b"".join(tensors)
    return head + bytes(-len(head) % alignment) + data if tensors else head
