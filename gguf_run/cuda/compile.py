"""Kernel files to machine code, each once: NVRTC for the exact architecture, and a cache of what it
made.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gguf_run import __version__
from gguf_run.cuda.cache import FileCache, Progress, Wanted, key_of
from gguf_run.cuda.nvrtc import Nvrtc
from gguf_run.cuda.source import KernelSource, Sources

OPTIONS = ("--std=c++17", "--diag-suppress=177")  # 177: a function that no kernel of the file uses


@dataclass(frozen=True, slots=True)
class Cubin:
    """Machine code of a kernel file for one architecture; `symbols` by the names asked for."""

    source: KernelSource
    text: str
    image: bytes
    symbols: Mapping[str, str]


class KernelCompiler:
    """Compiles with `nvrtc`, keeps what it made in `cache`."""

    def __init__(self, nvrtc: Nvrtc, cache: FileCache) -> None:
        self._nvrtc = nvrtc
        self._cache = cache

    def cubins(
        self, sources: Sequence[KernelSource], arch: str, progress: Progress | None = None
    ) -> list[Cubin]:
        """The machine code of many files, in their order; those not cached compile side by side.

        `arch` as NVRTC names it ("sm_90a"). `progress` is told of the files that are compiled.
        Raises DeviceError with the compiler's messages.
        """
        files = Sources()
        texts = {path: files.flatten(path) for path in {source.path for source in sources}}
        wanted = [self._wanted(source, texts[source.path], arch) for source in sources]
        cubins = []
        for source, content in zip(sources, self._cache.get(wanted, progress), strict=True):
            head, _, image = content.partition(b"\n")
            cubins.append(Cubin(source, texts[source.path], image, json.loads(head)))
        return cubins

    def _wanted(self, source: KernelSource, text: str, arch: str) -> Wanted:
        key = key_of(
            text, arch, source.names, source.defines, OPTIONS, self._nvrtc.version, __version__
        )
        name = f"{source.path.stem}-{arch}-{key}.cubin"
        return Wanted(name, source.path.name, lambda: self._compile(source, text, arch))

    def _compile(self, source: KernelSource, text: str, arch: str) -> bytes:
        options = [*OPTIONS, *(f"--define-macro={k}={v}" for k, v in source.defines)]
        image, symbols = self._nvrtc.compile(text, source.path.name, arch, source.names, options)
        return json.dumps(symbols).encode() + b"\n" + image
