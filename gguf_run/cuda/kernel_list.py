"""Every kernel with what it takes of a GPU, compiled for any architecture without one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import gguf_run.cuda.backend as _backend  # noqa: F401  (with the next one, declares every module)
import gguf_run.cuda.planning as _planning  # noqa: F401
from gguf_run.cuda.cache import FileCache, Progress
from gguf_run.cuda.capabilities import ALL
from gguf_run.cuda.compile import KernelCompiler
from gguf_run.cuda.lowering import MODULES
from gguf_run.cuda.nvrtc import Nvrtc
from gguf_run.cuda.resources import Resources, kernel_resources
from gguf_run.cuda.source import KernelSource
from gguf_run.errors import DeviceError

CAPABILITIES = (75, 80, 86, 89, 90, 100, 120)
"""Compute capabilities, times ten, that every kernel must compile for."""

REGISTERS_PER_SM = 65536
STATIC_SHARED = 48 << 10
"""Bytes of shared memory that a kernel may declare; more must be asked for at its launch."""
MOST_THREADS = 1024
BATCH = 32

Defines = tuple[tuple[str, str | int], ...]


@dataclass(frozen=True, slots=True)
class KernelFacts:
    """A kernel for one architecture."""

    file: str
    kernel: str
    arch: str
    resources: Resources

    @property
    def threads(self) -> int:
        """The block size that it must be able to run with: its launch bounds, or the largest."""
        return self.resources.max_threads or MOST_THREADS

    @property
    def faults(self) -> list[str]:
        """What keeps it from being good: registers spilled, or too much taken for its blocks."""
        r, found = self.resources, []
        if r.stack:
            found.append(f"{r.stack} bytes of local memory a thread")
        # Registers are handed out to a warp in eights for each thread.
        if -(-r.registers // 8) * 8 * self.threads > REGISTERS_PER_SM:
            found.append(f"{r.registers} registers don't fit {self.threads} threads")
        if r.shared > STATIC_SHARED:
            found.append(f"{r.shared} bytes of static shared memory")
        return found


def compile_all(
    nvrtc: Nvrtc, capability: int, cache: FileCache, progress: Progress | None = None
) -> list[KernelFacts]:
    """All kernels that GPUs of one compute capability are given.

    Raises `DeviceError` where there are no such GPUs, or `nvrtc` doesn't know them.
    """
    arch = nvrtc.arch(capability)
    if capability not in ALL:
        known = ", ".join(f"sm_{c}" for c in sorted(ALL))
        raise DeviceError(f"sm_{capability}: expected one of {known}")
    return compiled_facts(nvrtc, arch, list(batches(capability)), cache, progress)


def compiled_facts(
    nvrtc: Nvrtc,
    arch: str,
    sources: Sequence[KernelSource],
    cache: FileCache,
    progress: Progress | None = None,
) -> list[KernelFacts]:
    """What the kernels of `sources` take, compiled for `arch`."""
    facts = []
    for cubin in KernelCompiler(nvrtc, cache).cubins(sources, arch, progress):
        resources = kernel_resources(cubin.image)
        for name, symbol in cubin.symbols.items():
            facts.append(KernelFacts(cubin.source.path.name, name, arch, resources[symbol]))
    return facts


def batches(capability: int) -> Iterator[KernelSource]:
    """The kernels of a compute capability, up to BATCH of a file at a time.

    A model takes few of a file, so modules are small; for all of them, reading the headers once a
    module would cost a tenth of the time.
    """
    files: dict[tuple[Path, Defines], list[str]] = {}
    for source, capabilities in MODULES.items():
        if capability in capabilities:
            files.setdefault((source.path, source.defines), []).extend(source.names)
    for (path, defines), names in files.items():
        for start in range(0, len(names), BATCH):
            yield KernelSource(path, tuple(names[start : start + BATCH]), defines)


def format_kernels(facts: Iterable[KernelFacts]) -> str:
    """A table: a kernel a line, for each architecture registers, shared bytes, local bytes."""
    by_kernel: dict[tuple[str, str], dict[str, Resources]] = {}
    for fact in facts:
        by_kernel.setdefault((fact.file, fact.kernel), {})[fact.arch] = fact.resources
    archs = list(dict.fromkeys(arch for found in by_kernel.values() for arch in found))
    rows = [("file", "kernel", "threads", *archs)]
    for (file, kernel), found in by_kernel.items():
        threads = next(iter(found.values())).max_threads
        cells = (_cell(found[arch]) if arch in found else "" for arch in archs)
        rows.append((file, kernel, str(threads or "-"), *cells))
    return "\n".join([*_aligned(rows), "(registers, static shared bytes, local bytes)"])


def _cell(r: Resources) -> str:
    return f"{r.registers}, {r.shared}, {r.stack}"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(v.ljust(w) for v, w in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
