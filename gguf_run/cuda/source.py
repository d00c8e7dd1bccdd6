"""Kernel sources: a `.cu` file with its project headers inlined, so that one text is the whole
truth.

The flattened text is what is compiled (by NVRTC and by the emulator's g++), what signatures are
read from and what cache keys are made of: an edit in any header changes the key.
"""

from __future__ import annotations

import re
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


def flatten(path: Path) -> str:
    """The text of `path` with every `#include "..."` replaced by that file's text, once, `#line`
    kept true.

    Included files are sought beside the file that names them. Includes in angle brackets stay as
    they are. Headers are taken in where they first stand, so an include must not hang on an `#if`.
    """
    return _flatten(path, set())


def _flatten(path: Path, seen: set[Path]) -> str:
    path = path.resolve()
    if path in seen:
        return ""
    seen.add(path)
    try:
        text = _ONCE.sub("", path.read_text("utf-8"))
    except OSError as error:
        raise DeviceError(f"a kernel source can't be read: {error}") from error
    pieces, start = [f'#line 1 "{path.name}"\n'], 0
    for match in _INCLUDE.finditer(text):
        next_line = text.count("\n", 0, match.start()) + 2
        pieces += [text[start : match.start()], _flatten(path.parent / match[1], seen)]
        pieces.append(f'\n#line {next_line} "{path.name}"')
        start = match.end()
    pieces.append(text[start:])
    return "".join(pieces)
