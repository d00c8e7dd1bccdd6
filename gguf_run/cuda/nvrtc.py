"""NVIDIA's runtime compiler, called directly: CUDA C++ in, machine code out, no GPU needed.

The library is found in NVIDIA's wheels (`cuda-toolkit[nvrtc,cudart]`), in a CUDA toolkit, or by the
system's loader; the headers (cuda_fp16.h) beside it.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import importlib.util
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from gguf_run.cuda.capabilities import EMBEDDED, LEAST, full_arch
from gguf_run.errors import DeviceError

INSTALL = "install it: pip install 'cuda-toolkit[nvrtc,cudart]==12.*' (or 13.*, as the driver)"
_SYSTEM = Path("/usr/local/cuda")


class Nvrtc:
    """One libnvrtc and the headers that belong to it. Methods may be called from many threads."""

    def __init__(self, library: Path | str, include: Path) -> None:
        try:
            self._library = ctypes.CDLL(str(library))
        except OSError as error:
            raise DeviceError(f"the CUDA compiler {library} can't be loaded: {error}") from error
        self._library.nvrtcGetErrorString.restype = ctypes.c_char_p
        self.include = include
        major, minor = ctypes.c_int(), ctypes.c_int()
        self._call("nvrtcVersion", ctypes.byref(major), ctypes.byref(minor))
        self.version = (major.value, minor.value)
        self.capabilities = self._capabilities()

    def arch(self, capability: int) -> str:
        """The architecture to compile for: sm_90 and later with all their features ("sm_90a").

        Where this NVRTC is older than the GPU, the nearest of the same generation, whose machine
        code runs there too. DeviceError where there is none, or the GPU is older than `LEAST`.
        """
        if capability < LEAST:
            raise DeviceError(
                f"expected a GPU of compute capability {LEAST / 10} or later (Turing, sm_{LEAST}), "
                f"found sm_{capability}; run on the CPU with --device cpu"
            )
        if capability in self.capabilities:
            return full_arch(capability)
        older = [c for c in self.capabilities if c // 10 == capability // 10 and c < capability]
        older = [] if capability in EMBEDDED else [c for c in older if c not in EMBEDDED]
        if not older:
            known = ", ".join(f"sm_{c}" for c in self.capabilities if c >= LEAST)
            raise DeviceError(
                f"NVRTC {self.version[0]}.{self.version[1]} can't compile for sm_{capability}, "
                f"only for {known}; a newer one may: pip install -U 'cuda-toolkit[nvrtc,cudart]'"
            )
        return f"sm_{max(older)}"

    def compile(
        self, text: str, name: str, arch: str, names: Sequence[str], options: Sequence[str]
    ) -> tuple[bytes, dict[str, str]]:
        """Machine code of a source text, and the symbol of each name expression in it.

        Raises DeviceError with the compiler's messages.
        """
        program = ctypes.c_void_p()
        self._call(
            "nvrtcCreateProgram", ctypes.byref(program), text.encode(), name.encode(), 0, None, None
        )
        try:
            for expression in names:
                self._call("nvrtcAddNameExpression", program, expression.encode())
            flags = [f"--gpu-architecture={arch}", f"--include-path={self.include}", *options]
            array = (ctypes.c_char_p * len(flags))(*(flag.encode() for flag in flags))
            if self._library.nvrtcCompileProgram(program, len(flags), array):
                log = self._bytes(program, "ProgramLog").rstrip(b"\0").decode(errors="replace")
                raise DeviceError(f"{name} can't be compiled for {arch}:\n{log.strip()}")
            symbols = {expression: self._symbol(program, expression) for expression in names}
            return self._bytes(program, "CUBIN"), symbols
        finally:
            self._call("nvrtcDestroyProgram", ctypes.byref(program))

    def _capabilities(self) -> list[int]:
        n = ctypes.c_int()
        self._call("nvrtcGetNumSupportedArchs", ctypes.byref(n))
        archs = (ctypes.c_int * n.value)()
        self._call("nvrtcGetSupportedArchs", archs)
        return list(archs)

    def _symbol(self, program: ctypes.c_void_p, expression: str) -> str:
        symbol = ctypes.c_char_p()
        self._call("nvrtcGetLoweredName", program, expression.encode(), ctypes.byref(symbol))
        return (symbol.value or b"").decode()

    def _bytes(self, program: ctypes.c_void_p, what: str) -> bytes:
        n_bytes = ctypes.c_size_t()
        self._call(f"nvrtcGet{what}Size", program, ctypes.byref(n_bytes))
        data = ctypes.create_string_buffer(n_bytes.value)
        self._call(f"nvrtcGet{what}", program, data)
        return data.raw

    def _call(self, function: str, *arguments: Any) -> None:
        failed = getattr(self._library, function)(*arguments)
        if failed:
            reason = self._library.nvrtcGetErrorString(failed).decode()
            raise DeviceError(f"{function}: {reason}")


def find_nvrtc(cuda_path: Path | None = None, max_major: int | None = None) -> Nvrtc:
    """The newest NVRTC that is installed, of CUDA `max_major` at most; `cuda_path` (a toolkit)
    first.

    Raises DeviceError that says what to install.
    """
    for library in _libraries(cuda_path):
        if max_major is not None and (_major(library) or max_major) > max_major:
            continue
        include = _include(library)
        if include is not None:
            return Nvrtc(library, include)
    wanted = f" for CUDA {max_major} or earlier" if max_major is not None else ""
    raise DeviceError(f"CUDA's compiler NVRTC with its headers{wanted} was not found; {INSTALL}")


def _libraries(cuda_path: Path | None) -> Iterator[Path]:
    """Paths of libnvrtc, the preferred first."""
    toolkits = [cuda_path] if cuda_path is not None else []
    for folder in toolkits:
        yield from _in(folder)
    wheels = [Path(place) for place in _wheel_folders()]
    found = [p for w in wheels for folder in (w / "cu13", w / "cuda_nvrtc") for p in _in(folder)]
    yield from sorted(found, key=lambda p: -(_major(p) or 0))
    yield from _in(_SYSTEM)
    by_loader = ctypes.util.find_library("nvrtc")
    if by_loader is not None:
        yield Path(by_loader)


def _in(folder: Path) -> Iterator[Path]:
    for lib in ("lib64", "lib"):
        yield from sorted((folder / lib).glob("libnvrtc.so.*"), key=lambda p: len(p.name))[:1]


def _wheel_folders() -> Sequence[str]:
    spec = importlib.util.find_spec("nvidia")
    return [] if spec is None else list(spec.submodule_search_locations or ())


def _major(library: Path) -> int | None:
    found = re.search(r"\.so\.(\d+)", library.name)
    return int(found[1]) if found else None


def _include(library: Path) -> Path | None:
    """The folder of the headers that came with a library."""
    home = library.parent.parent
    for folder in (home / "include", home.parent / "cuda_runtime" / "include", _SYSTEM / "include"):
        if (folder / "cuda_fp16.h").is_file():
            return folder
    return None
