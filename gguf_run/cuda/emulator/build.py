"""Compiles the emulator's runtime and kernel files with g++, once, into a cache."""

from __future__ import annotations

import functools
import platform
import re
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from gguf_run.cuda.cache import FileCache, Progress, Wanted, key_of
from gguf_run.cuda.source import KernelSource, flatten
from gguf_run.errors import DeviceError

_HERE = Path(__file__).parent
_INCLUDE = _HERE / "include"
_OLDEST = 12  # it knows 16-bit floats
_FLAGS = [
    "-std=c++17",
    "-O2",
    "-march=native",
    "-fPIC",
    "-pthread",
    "-fno-gnu-unique",
    "-U_FORTIFY_SOURCE",
]
# Thread-local variables by one load; a kernel's shared memory is found by a quick call.
_RUNTIME_FLAGS = [*_FLAGS, "-ftls-model=initial-exec"]
_TLS_FLAGS = ["-mtls-dialect=gnu2"] if platform.machine() == "x86_64" else []
# CUDA code reads floats as ints through pointers, and its arithmetic neither traps nor sets errno.
_KERNEL_FLAGS = [
    "-fvisibility=hidden",
    "-ffp-contract=off",
    "-fno-strict-aliasing",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fwrapv",
    "-w",
]
_CHECK_FLAGS = ["-fsanitize=alignment,bounds", "-fno-sanitize-recover=all"]
# `extern __shared__ T name[];` becomes a pointer to where the block's dynamic shared memory lies.
_DYNAMIC_SHARED = re.compile(
    r"extern\s+__shared__\s+(?:(?:__align__|alignas)\s*\(\s*\d+\s*\)\s*)?([\w:<>\s]+?)\s+"
    r"(?:(?:__align__|alignas)\s*\(\s*\d+\s*\)\s*)?(\w+)\s*\[\s*\]\s*;"
)


class Compiler:
    """g++ and the cache of what it made. `capability` is what kernels see as __CUDA_ARCH__ / 10."""

    def __init__(self, cache: FileCache, capability: int, checks: bool) -> None:
        self._cache = cache
        self._flags = [*_FLAGS, *_TLS_FLAGS, *_KERNEL_FLAGS, *(_CHECK_FLAGS if checks else ())]
        self._flags += [f"-D__CUDA_ARCH__={capability}0", "-include", "cuda_emu.h"]

    def runtime(self) -> Path:
        """The shared library of the runtime."""
        text = flatten(_HERE / "runtime.cpp")
        name = f"emulator-{key_of(text, _RUNTIME_FLAGS, *_environment())}.so"
        make = functools.partial(_compile, text, _RUNTIME_FLAGS, _HERE)
        self._cache.get([Wanted(name, "emulator", make)])
        return self._cache.path(name)

    def modules(
        self, texts: Mapping[Path, str], sources: Sequence[KernelSource], progress: Progress | None
    ) -> list[Path]:
        """The shared libraries of kernel files, given their flat texts; tables name the kernels."""
        wanted = [self._wanted(texts[source.path], source) for source in sources]
        self._cache.get(wanted, progress)
        return [self._cache.path(w.name) for w in wanted]

    def _wanted(self, text: str, source: KernelSource) -> Wanted:
        rows = "".join(f'  EMU_ROW("{name}", &{name}),\n' for name in source.names)
        code = (
            f"{_DYNAMIC_SHARED.sub(_dynamic_shared, text)}\n"
            '#line 1 "kernel names asked for"\n'
            "EMU_TABLE emu_kernels[] = {\n"
            f"{rows}  {{nullptr, nullptr, nullptr, 0, {{}}}}}};\n"
        )
        flags = [*self._flags, *(f"-D{name}={value}" for name, value in source.defines)]
        name = f"{source.path.stem}-{key_of(code, flags, *_environment())}.so"
        make = functools.partial(_compile, code, flags, _INCLUDE)
        return Wanted(name, source.path.name, make)


def _dynamic_shared(match: re.Match[str]) -> str:
    return f"{match[1]}* {match[2]} = reinterpret_cast<{match[1]}*>(emu_block->dynamic_shared);"


@functools.cache
def _environment() -> tuple[str, ...]:
    """What a compiled file depends on besides its text: headers, compiler, processor."""
    headers = [path.read_text() for path in (*sorted(_INCLUDE.glob("*.h")), _HERE / "runtime.h")]
    version = _run(["g++", "-dumpfullversion", "-dumpversion"]).stdout.strip()
    if int(version.partition(".")[0]) < _OLDEST:
        raise DeviceError(f"the emulated device needs g++ {_OLDEST} or later, found {version}")
    try:
        flags = re.search(r"^(?:flags|Features)\s*:.*$", Path("/proc/cpuinfo").read_text(), re.M)
    except OSError:
        flags = None
    return (*headers, version, platform.machine(), flags[0] if flags else platform.processor())


def _compile(code: str, flags: Sequence[str], include: Path) -> bytes:
    """The bytes of a shared library; two steps, so that no sanitizer library is linked (runtime.cpp
    has its own).
    """
    with tempfile.TemporaryDirectory(prefix="gguf-run-") as folder:
        source, middle, result = (Path(folder) / n for n in ("code.cpp", "code.o", "code.so"))
        source.write_text(code)
        for command in (
            ["g++", *flags, f"-I{include}", "-c", str(source), "-o", str(middle)],
            ["g++", "-shared", "-pthread", str(middle), "-o", str(result)],
        ):
            done = _run(command)
            if done.returncode:
                errors = [line for line in done.stderr.splitlines() if "error" in line]
                shown = "\n".join(errors[:20]) or done.stderr[:2000]
                raise DeviceError(f"g++ can't compile a kernel file for the emulator:\n{shown}")
        return result.read_bytes()


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise DeviceError(
            "the emulated device compiles kernels with g++, which is not installed; "
            f"install g++ {_OLDEST} or later (Debian, Ubuntu: apt install g++)"
        ) from error
