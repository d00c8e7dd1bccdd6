"""Reads a tensor's bytes into memory of the caller, from a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from gguf_run.errors import GGUFError

Read = Callable[[int, memoryview], None]
"""(offset, view): fill the view with bytes from that offset on. Several threads may call it."""


def file_reader(path: Path, start: int = 0) -> Read:
    """Reads `path`; offsets count from `start`.

    Raises (when called) GGUFError where the file can't be read, or ends too early.
    """

    def read(offset: int, view: memoryview) -> None:
        # Opened each time, since a file's position belongs to one thread.
        try:
            with path.open("rb", buffering=0) as file:
                file.seek(start + offset)
                while view:
                    n_read = file.readinto(view)
                    if not n_read:
                        raise GGUFError(
                            f"{path}: expected {len(view)} more bytes at offset {file.tell()}, "
                            "found the end of the file; it has become shorter since it was opened"
                        )
                    view = view[n_read:]
        except OSError as error:
            raise GGUFError(f"{path}: expected a readable file, found: {error}") from error

    return read
