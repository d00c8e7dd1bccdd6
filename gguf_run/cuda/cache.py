"""A folder of files that can be made again: compiled kernels by the hash of everything they were
made of.

Each file ends with the SHA-256 of what stands before it (machine code tolerates bytes behind its
end), so a truncated or damaged file is found and made again. Files are put in place whole: any
number of processes may share a folder. What was not used for long, such as the kernels of an
earlier version, is removed when something new is made.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

MOST_BYTES = 1 << 30
"""Of a folder; beyond, the files go that were used the longest ago."""
MOST_DAYS = 60
"""Without use, after which a file goes."""
_DAY = 24 * 3600
_DIGEST = hashlib.sha256().digest_size

Progress = Callable[[str, int, int], None]
"""Called as progress(what, done, total) while files are made."""


def key_of(*parts: object) -> str:
    """A file name's worth of SHA-256 over the parts."""
    digest = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else str(part).encode("utf-8", "surrogateescape")
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file of the cache: its name, what to call it in a progress line, how to make it."""

    name: str
    label: str
    make: Callable[[], bytes]


class FileCache:
    """Files by name in `folder`; if that can't be written, in a temporary one, after a warning."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._is_temporary = False
        self._lock = threading.Lock()

    def get(self, wanted: Sequence[Wanted], progress: Progress | None = None) -> list[bytes]:
        """The contents of many files; those missing or damaged are made side by side.

        `progress` is told of those that are made.
        """
        contents = {w.name: self._load(w.name) for w in wanted}
        missing = {w.name: w for w in wanted if contents[w.name] is None}
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            futures = {pool.submit(self._make, w): w for w in missing.values()}
            for done, future in enumerate(as_completed(futures), 1):
                contents[futures[future].name] = future.result()
                if progress:
                    progress(futures[future].label, done, len(missing))
        if missing:
            sweep(self.folder, time.time())
        return [content for w in wanted if (content := contents[w.name]) is not None]

    def path(self, name: str) -> Path:
        """Where a file that `get` has returned lies, with 32 bytes behind its end."""
        return self.folder / name

    def _load(self, name: str) -> bytes | None:
        path = self.folder / name
        try:
            data = path.read_bytes()
        except OSError:
            return None
        if hashlib.sha256(data[:-_DIGEST]).digest() == data[-_DIGEST:]:
            with suppress(OSError):  # its time of change is that of its last use
                os.utime(path)
            return data[:-_DIGEST]
        warnings.warn(f"{path} is damaged and made again", RuntimeWarning, stacklevel=4)
        return None

    def _make(self, wanted: Wanted) -> bytes:
        content = wanted.make()
        sealed = content + hashlib.sha256(content).digest()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            _write(self.folder / wanted.name, sealed)
        except OSError as error:
            self._go_elsewhere(error)
            with suppress(OSError):  # no folder is left to be tried, and the content is here
                _write(self.folder / wanted.name, sealed)
        return content

    def _go_elsewhere(self, error: OSError) -> None:
        with self._lock:
            if self._is_temporary:
                return
            self._is_temporary = True
            text = f"compiled kernels can't be kept in {self.folder} ({error}); each run compiles"
            with suppress(OSError):
                self.folder = Path(tempfile.mkdtemp(prefix="gguf-run-"))
                weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)
        warnings.warn(text, RuntimeWarning, stacklevel=4)


def sweep(folder: Path, now: float) -> None:
    """Remove what was not used for `MOST_DAYS`, and the oldest beyond `MOST_BYTES`.

    Whatever another process removes or forbids meanwhile is passed over.
    """
    found = []
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with suppress(OSError):
                if entry.is_file(follow_symlinks=False):
                    stat = entry.stat(follow_symlinks=False)
                    found.append((stat.st_mtime, stat.st_size, entry.path))
    n_bytes = 0
    for used, size, path in sorted(found, reverse=True):
        n_bytes += size
        if now - used > MOST_DAYS * _DAY or n_bytes > MOST_BYTES:
            with suppress(OSError):
                os.unlink(path)


def _write(path: Path, data: bytes) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.replace(temporary, path)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
        raise
