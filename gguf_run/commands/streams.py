"""Standard input, output and error, as the commands want them."""

from __future__ import annotations

import codecs
import io
import os
import sys
from typing import TextIO, cast

_ERRORS = "gguf-run"


def set_up_streams() -> None:
    """Make all three safe to use, whatever they are connected to.

    One that is closed becomes an empty one. Bytes that came in and are no text go out as they
    were; what a terminal's encoding lacks, which a model may well write, as a question mark. Where
    a system's encoding is not UTF-8 (Windows), pipes and files have UTF-8 all the same.
    """
    codecs.register_error(_ERRORS, _bytes_again)
    sys.stdin = sys.stdin or _nothing("r")
    sys.stdout = sys.stdout or _nothing("w")
    sys.stderr = sys.stderr or _nothing("w")
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            foreign = os.name == "nt" and not stream.isatty()
            errors = "surrogateescape" if stream is sys.stdin else _ERRORS
            stream.reconfigure(encoding="utf-8" if foreign else None, errors=errors)


def give_up_stdout() -> None:
    """After an error in writing to it: what is left is not written at the program's end, either."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _nothing(mode: str) -> TextIO:
    return cast(TextIO, open(os.devnull, mode, encoding="utf-8"))


def _bytes_again(error: UnicodeError) -> tuple[bytes, int]:
    assert isinstance(error, UnicodeEncodeError)
    text = error.object[error.start : error.end]
    return b"".join(map(_byte, text)), error.end


def _byte(character: str) -> bytes:
    code = ord(character)
    return bytes([code - 0xDC00]) if 0xDC80 <= code <= 0xDCFF else b"?"
