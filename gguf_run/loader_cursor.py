"""A cursor over the bytes of a GGUF file: checked reads, and errors that say where."""

from __future__ import annotations

import mmap
import reprlib
import struct
from pathlib import Path
from typing import NoReturn

from gguf_run.errors import GGUFError
from gguf_run.loader_strings import WINDOW_BYTES, leading_strings

Buffer = bytes | mmap.mmap
"""What a file is read from. Slices of both are bytes, and both know struct and NumPy."""

MAX_HEADER_BYTES = 128 << 20
"""What a header may take: several times the largest known. A file of many GiB, sparse maybe, could
otherwise back a string or an array of that size."""

_MANY = 256
"""Strings that are worth reading at once."""

_U64 = struct.Struct("<Q")
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 80


def shown(value: object) -> str:
    """What the file says, quoted for a message and cut in the middle where it is long."""
    return _SHORT.repr(value)


class Cursor:
    """Reads the header of one buffer front to back.

    Attributes:
        size: bytes of the buffer.
        pos: offset of the next byte.
        subject: the key or tensor being read, for messages.
    """

    __slots__ = ("_end", "_path", "buffer", "pos", "size", "subject")

    def __init__(self, buffer: Buffer, path: Path) -> None:
        self.buffer = buffer
        self.size = len(buffer)
        self.pos = 0
        self.subject = "header"
        self._path = path
        self._end = min(self.size, MAX_HEADER_BYTES)

    @property
    def left(self) -> int:
        """Bytes from here to where the header must end."""
        return self._end - self.pos

    def _limit(self) -> str:
        if self._end == self.size:
            return "the end of the file"
        return f"the end of the {MAX_HEADER_BYTES >> 20} MiB that a header may take"

    def fail(self, expected: str, found: str, at: int | None = None) -> NoReturn:
        """Raise the GGUFError for what starts at byte ``at`` (default: here)."""
        where = f"{self._path}: {self.subject} at byte {self.pos if at is None else at}"
        raise GGUFError(f"{where}: expected {expected}, found {found}")

    def u32(self, what: str) -> int:
        """Read an unsigned 32-bit number."""
        return int.from_bytes(self.fixed(4, what), "little")

    def u64(self, what: str) -> int:
        """Read an unsigned 64-bit number."""
        return int.from_bytes(self.fixed(8, what), "little")

    def fixed(self, n_bytes: int, what: str) -> bytes:
        """Read ``n_bytes``, checked to be there."""
        if self.left < n_bytes:
            self.fail(f"{what} ({n_bytes} bytes)", f"{self._limit()} after {self.left}")
        return self.take(n_bytes)

    def count(self, what: str, item_bytes: int) -> int:
        """Read how many items follow, each of at least ``item_bytes``: they must fit."""
        at = self.pos
        n = self.u64(what)
        most = self.left // item_bytes
        if n > most:
            room = f"{what} of at most {most} ({self.left} bytes to {self._limit()})"
            self.fail(room, str(n), at)
        return n

    def take(self, n_bytes: int) -> bytes:
        """Read ``n_bytes`` that the caller knows to be there."""
        start = self.pos
        self.pos += n_bytes
        return self.buffer[start : self.pos]

    def string(self, what: str) -> str:
        """Read a string: a u64 count of bytes, then UTF-8. Other bytes become surrogates."""
        return self.text(self.count(f"length of {what}", 1))

    def text(self, n_bytes: int) -> str:
        """Read text of ``n_bytes`` that the caller knows to be there."""
        return decoded(self.take(n_bytes))

    def strings(self, n: int) -> list[str]:
        """Read ``n`` strings, as `string` does.

        Vocabularies make this what an opening's time is spent in, so strings are read many at a
        time; those that can't be, and few, one by one.
        """
        texts: list[str] = []
        while n - len(texts) >= _MANY:
            window = self.buffer[self.pos : min(self.pos + WINDOW_BYTES, self._end)]
            found, n_bytes = leading_strings(window, n - len(texts))
            texts += found
            self.pos += n_bytes
            if n_bytes < WINDOW_BYTES // 2:  # the end, or something of another kind
                break
        return texts + self._strings_one_by_one(len(texts), n)

    def _strings_one_by_one(self, first: int, n: int) -> list[str]:
        """Strings from number ``first`` on. All but the one check that the loop needs is left to
        `_fail_in_strings`."""
        buffer, pos, end, unpack = self.buffer, self.pos, self._end, _U64.unpack_from
        parts: list[bytes] = []
        append = parts.append
        try:
            for _ in range(first, n):
                start = pos + 8
                pos = start + unpack(buffer, pos)[0]
                if pos > end:
                    self._fail_in_strings(first, n)
                append(buffer[start:pos])
        except struct.error:
            self._fail_in_strings(first, n)
        self.pos = pos
        return [decoded(part) for part in parts]

    def _fail_in_strings(self, first: int, n: int) -> NoReturn:
        """Walk an array of strings that runs out of the file again, to say where it does."""
        array = self.subject
        for i in range(first, n):
            self.subject = f"{array}, string {i} of {n}"
            self.take(self.count("length of the string", 1))
        raise AssertionError("the strings fit after all")


def decoded(raw: bytes) -> str:
    """Text of a file; bytes that are not UTF-8 survive as surrogates."""
    return raw.decode("utf-8", "surrogateescape")
