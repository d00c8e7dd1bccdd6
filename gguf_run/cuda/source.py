"""Kernel sources: a `.cu` file with its project headers inlined, so that one text is the whole
truth.

The flattened text is what is compiled (by NVRTC and by the emulator's g++), what signatures are
read from and what cache keys are made of: an edit in any header changes the key.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gguf_run.errors import DeviceError

_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]+"([^"]+)"[^\n]*$', re.M)
_ONCE = re.compile(r"^[ \t]*#[ \t]*pragma[ \t]+once[^\n]*$", re.M)


@dataclass(frozen=True, slots=True)
class KernelSource:
    """A `.cu` file and what to make of it.

    `names` are the kernels wanted: plain names of `extern "C"` kernels and instances of templates
    as C++ writes them (`mul_mat_vec<block_q4_0, 4>`). `defines` are macros set before the first
    line.
    """

    path: Path
    names: tuple[str, ...]
    defines: tuple[tuple[str, str | int], ...] = ()


class Sources:
    """Kernel files as they are now: each is read once, however many others include it."""

    def __init__(self) -> None:
        self._parts: dict[Path, list[str | Path]] = {}

    def flatten(self, path: Path) -> str:
        """The text of `path` with every `#include "..."` replaced by that file's text, once,
        `#line` kept true.

        Included files are sought beside the file that names them. Includes in angle brackets stay
        as they are. Headers are taken in where they first stand, so an include must not hang on an
        `#if`.
        """
        return "".join(self._pieces(path.resolve(), set()))

    def _pieces(self, path: Path, seen: set[Path]) -> Iterator[str]:
        if path in seen:
            return
        seen.add(path)
        if path not in self._parts:
            self._parts[path] = _parts(path)
        for part in self._parts[path]:
            if isinstance(part, str):
                yield part
            else:
                yield from self._pieces(part, seen)


def flatten(path: Path) -> str:
    """The text of one kernel file (see `Sources.flatten`)."""
    return Sources().flatten(path)


def _parts(path: Path) -> list[str | Path]:
    """The text of a file, cut where it includes others, and these."""
    try:
        text = _ONCE.sub("", path.read_text("utf-8"))
    except OSError as error:
        raise DeviceError(f"a kernel source can't be read: {error}") from error
    parts: list[str | Path] = [f'#line 1 "{path.name}"\n']
    start = 0
    for match in _INCLUDE.finditer(text):
        next_line = text.count("\n", 0, match.start()) + 2
        parts += [text[start : match.start()], (path.parent / match[1]).resolve()]
        parts.append(f'\n#line {next_line} "{path.name}"')
        start = match.end()
    parts.append(text[start:])
    return parts
