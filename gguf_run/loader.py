"""GGUF files: metadata, and tensors as views of the mapped file.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3. Everything
is checked on opening, so that what has opened can be read without further checks.
"""

from __future__ import annotations

import mmap
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, TracebackType

import numpy as np
import numpy.typing as npt

from gguf_run.errors import GGUFError, ModelError
from gguf_run.loader_bytes import Read, file_reader
from gguf_run.loader_cursor import Buffer, Cursor, shown
from gguf_run.loader_magic import check_magic, check_version
from gguf_run.loader_metadata import MIN_PAIR_BYTES, MetaValue, read_metadata
from gguf_run.loader_shards import check_shard, check_tensor_total, other_shards
from gguf_run.loader_tensors import MIN_TENSOR_BYTES, TensorInfo, read_tensors

__all__ = ["GGUFFile", "MetaValue", "TensorInfo", "open_gguf"]


@dataclass(frozen=True, slots=True)
class Part:
    """One file of a model: all that its header says, and its bytes."""

    path: Path
    version: int
    metadata: dict[str, MetaValue]
    tensors: dict[str, TensorInfo]
    bytes: npt.NDArray[np.uint8]


class GGUFFile:
    """An open GGUF file, or all shards of one; a context manager.

    Attributes:
        path: the file, or the first shard.
        version: of the format, 2 or 3.
        metadata: key -> value, in the file's order; of the first shard.
        tensors: name -> TensorInfo, in the file's order, shard by shard.
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        self.path = parts[0].path
        self.version = parts[0].version
        self.metadata: Mapping[str, MetaValue] = MappingProxyType(parts[0].metadata)
        self.tensors: Mapping[str, TensorInfo] = MappingProxyType(_all_tensors(parts))
        self._bytes = [part.bytes for part in parts]

    def data(self, name: str) -> npt.NDArray[np.uint8]:
        """The stored bytes of a tensor: a read-only view of the mapped file, shape (n_bytes,).

        The view keeps the mapping alive, beyond `close` too.

        Raises:
            ModelError: the file has no such tensor.
            ValueError: the file has been closed.
        """
        if name not in self.tensors:
            raise ModelError(
                f"{self.path}: expected a tensor {shown(name)}, found none of that name"
            )
        if not self._bytes:
            raise ValueError(f"{self.path} is closed")
        info = self.tensors[name]
        return self._bytes[info.shard][info.offset : info.offset + info.n_bytes]

    def reader(self, name: str) -> Read:
        """Reads bytes of the tensor `name`, which the file has, past the mapping: a copy from the
        page cache is faster by many threads than by page faults."""
        info = self.tensors[name]
        return file_reader(info.path, info.offset)

    def close(self) -> None:
        """Let go of the mapped file, which is unmapped with the last view of it."""
        self._bytes = []

    def __enter__(self) -> GGUFFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def open_gguf(path: str | os.PathLike[str]) -> GGUFFile:
    """Open a GGUF file and check all of its header; no tensor data are read.

    Args:
        path: the file; of a model in several files (``name-00001-of-00003.gguf``) the first, which
            opens the others too.

    Raises:
        GGUFError: the file is missing, unreadable, no GGUF file or malformed.
    """
    path = Path(path)
    first = parse_part(_map(path), path)
    parts = [first]
    for i, shard in enumerate(other_shards(path, first.metadata), 1):
        part = parse_part(_map(shard), shard, i)
        check_shard(shard, part.metadata, i, first.metadata)
        parts.append(part)
    file = GGUFFile(parts)
    if len(parts) > 1:
        check_tensor_total(path, first.metadata, len(file.tensors))
    return file


def parse_part(buffer: Buffer, path: Path, shard: int = 0) -> Part:
    """Parse one file from memory; ``path`` names it in errors.

    Raises:
        GGUFError: it is malformed.
    """
    cursor = Cursor(buffer, path)
    check_magic(cursor)
    version = check_version(cursor)
    n_tensors = cursor.count("number of tensors", MIN_TENSOR_BYTES)
    n_pairs = cursor.count("number of metadata pairs", MIN_PAIR_BYTES)
    metadata, alignment = read_metadata(cursor, n_pairs)
    tensors = read_tensors(cursor, n_tensors, alignment, shard, path)
    return Part(path, version, metadata, tensors, np.frombuffer(buffer, np.uint8))


def _map(path: Path) -> Buffer:
    try:
        # A pipe would block on opening, and a device has no size to check anything against.
        if not stat.S_ISREG(path.stat().st_mode):
            found = "a directory" if path.is_dir() else "a device, pipe or socket"
            raise GGUFError(f"{path}: expected a GGUF file, found {found}")
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                return b""
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError:
        raise GGUFError(f"{path}: expected a GGUF file, found none; check the path") from None
    except (OSError, ValueError) as error:
        raise GGUFError(f"{path}: expected a readable file, found: {error}") from error


def _all_tensors(parts: Sequence[Part]) -> dict[str, TensorInfo]:
    tensors: dict[str, TensorInfo] = {}
    for part in parts:
        for name, info in part.tensors.items():
            if name in tensors:
                raise GGUFError(
                    f"{part.path}: tensor {shown(name)}: expected each tensor in one shard, "
                    f"found it in {tensors[name].path.name} too"
                )
            tensors[name] = info
    return tensors
