"""A cursor over the bytes of a GGUF file: checked reads, and errors that say where."""

from __future__ import annotations

import mmap
import struct
from pathlib import Path
from typing import NoReturn

from gguf_run.errors import GGUFError

Buffer = bytes | mmap.mmap
"""What a file is read from. Slices of both are bytes, and both know struct and NumPy."""

U32 = struct.Struct("<I")
U64 = struct.Struct("<Q")


def shown(text: str | bytes, limit: int = 64) -> str:
    """A string of the file, quoted and cut so that it fits a message."""
    return repr(text) if len(text) <= limit else f"{text[:limit]!r}... ({len(text)} long)"


class Cursor:
    """Reads one buffer front to back.

    Attributes:
        pos: offset of the next byte.
        subject: the key or tensor being read, for messages.
    """

    __slots__ = ("_path", "buffer", "pos", "size", "subject")

    def __init__(self, buffer: Buffer, path: Path) -> None:
        self.buffer = buffer
        self.size = len(buffer)
        self.pos = 0
        self.subject = "header"
        self._path = path

    @property
    def left(self) -> int:
        """Bytes from here to the end."""
        return self.size - self.pos

    def fail(self, expected: str, found: str, at: int | None = None) -> NoReturn:
        """Raise the GGUFError for what starts at byte ``at`` (default: here)."""
        where = f"{self._path}: {self.subject} at byte {self.pos if at is None else at}"
        raise GGUFError(f"{where}: expected {expected}, found {found}")

    def u32(self, what: str) -> int:
        """Read an unsigned 32-bit number."""
        return self._number(U32, what)

    def u64(self, what: str) -> int:
        """Read an unsigned 64-bit number."""
        return self._number(U64, what)

    def _number(self, form: struct.Struct, what: str) -> int:
        if self.left < form.size:
            found = f"the end of the file after {self.left}: it is cut short"
            self.fail(f"{what} ({form.size} bytes)", found)
        value: int = form.unpack_from(self.buffer, self.pos)[0]
        self.pos += form.size
        return value

    def count(self, what: str, item_bytes: int) -> int:
        """Read how many items follow, each of at least ``item_bytes``: they must fit the file."""
        at = self.pos
        n = self.u64(what)
        if n > self.left // item_bytes:
            room = f"at most {self.left // item_bytes} ({self.left} bytes are left)"
            self.fail(f"{what} of {room}", str(n), at)
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
        """Read ``n`` strings, as `string` does, n <= left / 8.

        Vocabularies make this the loop that an opening's time is spent in, so it checks nothing
        on its way: a length that leads out of the buffer makes the next read fail, or the last
        position lie beyond the end.
        """
        buffer, pos, unpack = self.buffer, self.pos, U64.unpack_from
        parts: list[bytes] = []
        append = parts.append
        try:
            for _ in range(n):
                start = pos + 8
                pos = start + unpack(buffer, pos)[0]
                append(buffer[start:pos])
        except (struct.error, OverflowError, IndexError):
            pos = self.size + 1
        if pos > self.size:
            self._fail_in_strings(n)
        self.pos = pos
        return [decoded(part) for part in parts]

    def _fail_in_strings(self, n: int) -> NoReturn:
        """Walk an array of strings that runs out of the file again, to say where it does."""
        array = self.subject
        for i in range(n):
            self.subject = f"{array}, string {i} of {n}"
            self.take(self.count("length of the string", 1))
        raise AssertionError("the strings fit after all")


def decoded(raw: bytes) -> str:
    """Text of a file; bytes that are not UTF-8 survive as surrogates."""
    return raw.decode("utf-8", "surrogateescape")
