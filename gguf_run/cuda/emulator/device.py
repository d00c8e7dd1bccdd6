"""The emulated device: the very same kernel files, compiled by g++ and run on the CPU."""

from __future__ import annotations

import ctypes
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from gguf_run.cuda.cache import FileCache
from gguf_run.cuda.capabilities import SHARED_BYTES
from gguf_run.cuda.device import (
    Buffer,
    Device,
    Event,
    Graph,
    Kernel,
    Launch,
    Module,
    Progress,
    Stream,
)
from gguf_run.cuda.emulator.build import Compiler
from gguf_run.cuda.emulator.early import EarlyLaunch
from gguf_run.cuda.emulator.graph import EmulatedEvent, EmulatedGraph, EmulatedStream
from gguf_run.cuda.emulator.memory import Memory, view
from gguf_run.cuda.signature import Signatures, confirmed, parse_signatures
from gguf_run.cuda.source import KernelSource, Sources
from gguf_run.errors import DeviceError

Order = Literal["forward", "reverse", "random"]
_ORDERS: tuple[Order, ...] = ("forward", "reverse", "random")


class _Kernel(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("run", ctypes.c_void_p),
        ("shared", ctypes.c_void_p),
        ("n_params", ctypes.c_int),
        ("param_bytes", ctypes.c_int * 64),
    )


class EmulatedDevice(Device):
    """A GPU of `capability` made of fibers: one a CUDA thread, a block an OS thread.

    `order` is the order in which ready threads run: a kernel must give the same result in each.
    `checks` also compiles in checks of alignment and of array bounds, at a cost of some percent.
    `workers` OS threads run the blocks of a large launch side by side; atomic sums of floats then
    depend on who comes first. `memory` bytes can be allocated, by default all that the host has.
    """

    main: EmulatedStream

    def __init__(
        self,
        cache_dir: Path,
        *,
        order: Order = "forward",
        seed: int = 0,
        checks: bool = True,
        workers: int = 1,
        capability: int = 90,
        n_sm: int = 8,
        memory: int | None = None,
        debug: bool = False,
    ) -> None:
        self.name = "emulated"
        self.arch = "emulated"
        self.capability = capability
        self.n_sm = n_sm
        self.debug = debug
        self.max_shared = SHARED_BYTES[capability]
        self.main = EmulatedStream()
        host = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        self._memory = Memory(host if memory is None else memory)
        self._order: Order = order
        self._seed = seed
        self._workers = workers
        self._recording: EmulatedGraph | None = None
        self._compiler = Compiler(FileCache(cache_dir), capability, checks)
        self._runtime = ctypes.CDLL(str(self._compiler.runtime()), mode=ctypes.RTLD_GLOBAL)

    # -- memory ------------------------------------------------------------------------------------

    @property
    def memory_free(self) -> int:
        return self._memory.limit - self._memory.used

    @property
    def memory_total(self) -> int:
        return self._memory.limit

    def alloc(self, n_bytes: int) -> Buffer:
        return self._memory.alloc(n_bytes)

    def pinned(self, n_bytes: int) -> npt.NDArray[np.uint8]:
        return np.empty(n_bytes, np.uint8)

    def _upload(self, buffer: Buffer, source: npt.NDArray[Any]) -> None:
        self._refuse_in_capture("upload")
        ctypes.memmove(buffer.ptr, source.ctypes.data, source.nbytes)

    def _download(self, result: npt.NDArray[Any], buffer: Buffer) -> None:
        self.synchronize()
        ctypes.memmove(result.ctypes.data, buffer.ptr, result.nbytes)

    def upload_async(
        self, buffer: Buffer, pinned: npt.NDArray[np.uint8], stream: Stream | None = None
    ) -> Event:
        buffer.at(0, pinned.nbytes)
        self._do(stream, lambda: ctypes.memmove(buffer.ptr, pinned.ctypes.data, pinned.nbytes))
        return self.record(stream)

    def download_async(
        self, pinned: npt.NDArray[np.uint8], buffer: Buffer, stream: Stream | None = None
    ) -> Event:
        buffer.at(0, pinned.nbytes)
        self._do(stream, lambda: ctypes.memmove(pinned.ctypes.data, buffer.ptr, pinned.nbytes))
        return self.record(stream)

    def copy(self, target: Buffer, source: Buffer, stream: Stream | None = None) -> None:
        target.at(0, source.n_bytes)
        self._do(stream, lambda: ctypes.memmove(target.ptr, source.ptr, source.n_bytes))

    def fill(self, buffer: Buffer, byte: int, stream: Stream | None = None) -> None:
        self._do(stream, lambda: view(buffer.ptr, buffer.n_bytes).fill(byte))

    # -- kernels -----------------------------------------------------------------------------------

    def modules(
        self, sources: Sequence[KernelSource], progress: Progress | None = None
    ) -> list[Module]:
        files = Sources()
        texts = {path: files.flatten(path) for path in {source.path for source in sources}}
        signatures = {path: parse_signatures(text) for path, text in texts.items()}
        libraries = self._compiler.modules(texts, sources, progress)
        return [
            _load(library, source.names, signatures[source.path])
            for library, source in zip(libraries, sources, strict=True)
        ]

    def _launch(self, launch: Launch, stream: Stream | None) -> None:
        if launch.cluster is not None:
            raise DeviceError(f"{launch}: the emulated device has no clusters")
        if launch.cooperative and np.prod(launch.grid) > 16 * self.n_sm:
            raise DeviceError(f"{launch}: too many blocks to run at once")
        self._do(stream, lambda: self._run(launch), launch)
        if self.debug and self._recording is None:
            self._wait_for(launch)

    def _run(self, launch: Launch, gate: int | None = None) -> None:
        sizes = ctypes.c_uint * 3
        error = ctypes.create_string_buffer(1024)
        failed = self._runtime.emu_launch(
            ctypes.c_void_p(launch.kernel.handle),
            ctypes.c_void_p(launch.arguments.address),
            sizes(*launch.grid),
            sizes(*launch.block),
            ctypes.c_uint(launch.shared),
            ctypes.c_uint(self._workers),
            ctypes.c_int(launch.cooperative),
            ctypes.c_int(launch.pdl),
            ctypes.c_void_p(gate),
            ctypes.c_int(_ORDERS.index(self._order)),
            ctypes.c_uint(self._seed),
            error,
            ctypes.c_uint(len(error)),
        )
        if failed:
            raise DeviceError(f"{launch}: {self._with_place(error.value.decode(errors='replace'))}")

    def _with_place(self, message: str) -> str:
        """The message with the address in it, if any, explained."""
        found = re.search(r"illegal access at address (0x[0-9a-f]+)", message)
        if found is None:
            return message
        return message.replace(
            found[0], f"illegal access {self._memory.describe(int(found[1], 16))}"
        )

    # -- streams, events, graphs -------------------------------------------------------------------

    def stream(self) -> Stream:
        return EmulatedStream()

    def record(self, stream: Stream | None = None) -> Event:
        graph = self._recording
        after = None if graph is None else graph.tail(self._stream(stream))
        return EmulatedEvent(time.perf_counter(), after)

    def wait(self, event: Event, stream: Stream | None = None) -> None:
        assert isinstance(event, EmulatedEvent)
        if self._recording is not None:
            self._recording.wait(event, self._stream(stream))

    @contextmanager
    def capture(self) -> Iterator[Graph]:
        self._refuse_in_capture("another capture")
        graph = self._recording = EmulatedGraph(self._order, self._seed, self._start_early)
        graph.begin(self.main)
        try:
            yield graph
        finally:
            self._recording = None
        graph.end(self.main)

    def synchronize(self) -> None:
        self._refuse_in_capture("waiting")
        self._memory.check()

    def close(self) -> None:
        self._recording = None

    def _start_early(self, launch: Launch) -> EarlyLaunch:
        return EarlyLaunch(self._runtime, lambda gate: self._run(launch, gate))

    def _do(
        self, stream: Stream | None, work: Callable[[], Any], launch: Launch | None = None
    ) -> None:
        if self._recording is None:
            work()
        else:
            self._recording.add(self._stream(stream), work, launch)

    def _stream(self, stream: Stream | None) -> EmulatedStream:
        if stream is None:
            return self.main
        assert isinstance(stream, EmulatedStream)
        return stream

    def _refuse_in_capture(self, what: str) -> None:
        if self._recording is not None:
            raise DeviceError(f"{what} is not possible while a graph is recorded")


def _load(path: Path, names: Sequence[str], signatures: Signatures) -> Module:
    """The kernels of a compiled module, their parameters confirmed by the compiler's sizes."""
    library = ctypes.CDLL(str(path))
    table = (_Kernel * (len(names) + 1)).in_dll(library, "emu_kernels")
    kernels = {}
    for row, name in zip(table, names, strict=False):
        sizes = row.param_bytes[: row.n_params]
        parameters = confirmed(name, signatures, sizes)
        kernels[name] = Kernel(name, parameters, ctypes.addressof(row), library)
    return kernels
