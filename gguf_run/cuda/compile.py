"""Kernel files to machine code, each once: NVRTC for the exact architecture, and a cache of what it
made.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from gguf_run import __version__
from gguf_run.cuda.cache import FileCache, key_of
from gguf_run.cuda.nvrtc import Nvrtc
from gguf_run.cuda.source import KernelSource, flatten

OPTIONS = ("--std=c++17", "--diag-suppress=177")  # 177: a function that no kernel of the file uses
Progress = Callable[[str, int, int], None]
"""Called as progress(file, done, total) while files are compiled."""


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
        texts = [flatten(source.path) for source in sources]
        names = [self._name(s, text, arch) for s, text in zip(sources, texts, strict=True)]
        missing = [i for i, name in enumerate(names) if not self._cache.has(name)]

        def read(i: int) -> Cubin:
            content = self._cache.read(names[i], lambda: self._compile(sources[i], texts[i], arch))
            head, _, image = content.partition(b"\n")
            return Cubin(sources[i], texts[i], image, json.loads(head))

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for done, cubin in enumerate(pool.map(read, missing), 1):
                if progress:
                    progress(cubin.source.path.name, done, len(missing))
        return [read(i) for i in range(len(sources))]

    def _name(self, source: KernelSource, text: str, arch: str) -> str:
        key = key_of(
            text, arch, source.names, source.defines, OPTIONS, self._nvrtc.version, __version__
        )
        return f"{source.path.stem}-{arch}-{key}.cubin"

    def _compile(self, source: KernelSource, text: str, arch: str) -> bytes:
        options = [*OPTIONS, *(f"--define-macro={k}={v}" for k, v in source.defines)]
        image, symbols = self._nvrtc.compile(text, source.path.name, arch, source.names, options)
        return json.dumps(symbols).encode() + b"\n" + image
