"""A folder of files that can be made again: compiled kernels by the hash of everything they were
made of.

Each file ends with the SHA-256 of what stands before it (machine code tolerates bytes behind its
end), so a truncated or damaged file is found and made again. Files are put in place whole: any
number of processes may share a folder.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import warnings
import weakref
from collections.abc import Callable
from pathlib import Path

_DIGEST = hashlib.sha256().digest_size


def key_of(*parts: object) -> str:
    """A file name's worth of SHA-256 over the parts."""
    digest = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else str(part).encode("utf-8", "surrogateescape")
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()[:32]


class FileCache:
    """Files by key in `folder`; where that can't be written, in a temporary folder, after one
    warning.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._is_temporary = False

    def get(self, name: str, make: Callable[[], bytes]) -> Path:
        """The path of the sealed file `name`, made first where it is missing or damaged."""
        path = self.folder / name
        if not _is_sealed(path):
            path = self._put(name, make())
        return path

    def read(self, name: str, make: Callable[[], bytes]) -> bytes:
        """The content of the file `name`, made first where it is missing or damaged."""
        return self.get(name, make).read_bytes()[:-_DIGEST]

    def has(self, name: str) -> bool:
        """Whether `name` is there and whole."""
        return _is_sealed(self.folder / name)

    def _put(self, name: str, content: bytes) -> Path:
        sealed = content + hashlib.sha256(content).digest()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            return _write(self.folder / name, sealed)
        except OSError as error:
            if self._is_temporary:
                raise
            warnings.warn(
                f"compiled kernels can't be kept in {self.folder} ({error}); "
                "they are compiled in each run",
                RuntimeWarning,
                stacklevel=3,
            )
            self._is_temporary = True
            self.folder = Path(tempfile.mkdtemp(prefix="gguf-run-"))
            weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)
            return _write(self.folder / name, sealed)


def _is_sealed(path: Path) -> bool:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return False
    except OSError:
        return False
    if hashlib.sha256(data[:-_DIGEST]).digest() == data[-_DIGEST:]:
        return True
    warnings.warn(f"{path} is damaged and made again", RuntimeWarning, stacklevel=4)
    return False


def _write(path: Path, data: bytes) -> Path:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.replace(temporary, path)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path
