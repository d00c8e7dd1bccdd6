"""Texts that options name or spell, and how errors of the file system are shown."""

from __future__ import annotations

import re
from pathlib import Path

import click

_ESCAPE = re.compile(rb"""\\(?:x([0-9a-fA-F]{2})|([nrt'"\\]))""")
_ESCAPED = {b"n": b"\n", b"r": b"\r", b"t": b"\t"}


def read_text(option: str, path: Path) -> str:
    """The text of a file that an option names; `click.UsageError` where it is not there."""
    expected = f"{option} {path}: expected a UTF-8 text file"
    try:
        # Editors on Windows put a mark before it.
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise click.UsageError(f"{expected}, found other bytes: {error}") from None
    except OSError as error:
        raise click.UsageError(f"{expected}: {error.strerror}") from None


def unescape(text: str) -> str:
    r"""Replace \n, \r, \t, \', \", \\ and \xHH (a byte) as llama.cpp does; others stay."""
    found = _ESCAPE.sub(
        lambda m: bytes.fromhex(m[1].decode()) if m[1] else _ESCAPED.get(m[2], m[2]),
        text.encode(errors="surrogateescape"),
    )
    return found.decode(errors="surrogateescape")


def os_error(error: OSError) -> str:
    """An error of the file system as the user should see it."""
    what = error.strerror or str(error) or type(error).__name__
    return f"{error.filename}: {what}" if error.filename is not None else what
