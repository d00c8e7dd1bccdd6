"""Models in several files: ``name-00001-of-00003.gguf`` and its ``split.*`` keys."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from gguf_run.errors import GGUFError
from gguf_run.loader_cursor import shown
from gguf_run.loader_metadata import MetaValue

_NAME = re.compile(r"(.*)-(\d{5})-of-(\d{5})\.gguf", re.DOTALL)


def other_shards(path: Path, metadata: Mapping[str, MetaValue]) -> list[Path]:
    """The files that follow ``path``, the first of a model's, in order; all are there.

    Raises:
        GGUFError: ``path`` is not the first, its name doesn't fit its keys, or one is missing.
    """
    count = _number(path, metadata, "split.count", 1)
    no = _number(path, metadata, "split.no", 0)
    if count <= 1:
        return []
    if no >= count:
        raise GGUFError(f"{path}: key 'split.no': expected less than {count}, found {no}")
    match = _NAME.fullmatch(path.name)
    if match is None or (int(match[2]), int(match[3])) != (no + 1, count):
        raise GGUFError(
            f"{path}: expected a name ending in {_suffix(no, count)!r} for part {no + 1} of "
            f"{count}, found {path.name!r}; give the files their names back"
        )
    if no != 0:
        raise GGUFError(
            f"{path}: expected the first part, found part {no + 1} of {count}; "
            f"open {match[1] + _suffix(0, count)} instead"
        )
    others = []
    for i in range(1, count):
        shard = path.with_name(match[1] + _suffix(i, count))
        if not shard.exists():
            raise GGUFError(
                f"{shard}: expected part {i + 1} of {count} beside {path.name}, found no such file"
            )
        others.append(shard)
    return others


def check_shard(
    path: Path, metadata: Mapping[str, MetaValue], no: int, first: Mapping[str, MetaValue]
) -> None:
    """GGUFError where the keys of shard ``no`` (from 0) contradict its name or the first shard."""
    for key, expected in (("split.no", no), ("split.count", first["split.count"])):
        found = _number(path, metadata, key, -1)
        if found != expected:
            raise GGUFError(f"{path}: key {key!r}: expected {expected}, found {found}")


def check_tensor_total(path: Path, metadata: Mapping[str, MetaValue], found: int) -> None:
    """GGUFError where the shards don't hold as many tensors as the first one says."""
    expected = _number(path, metadata, "split.tensors.count", found)
    if found != expected:
        raise GGUFError(
            f"{path}: key 'split.tensors.count': expected {expected} tensors, found {found}"
        )


def _suffix(no: int, count: int) -> str:
    return f"-{no + 1:05d}-of-{count:05d}.gguf"


def _number(path: Path, metadata: Mapping[str, MetaValue], key: str, default: int) -> int:
    value = metadata.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool) or (key in metadata and value < 0):
        raise GGUFError(f"{path}: key {key!r}: expected a count, found {shown(value)}")
    return value
