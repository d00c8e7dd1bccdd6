"""An NVIDIA GPU through CuPy: its memory, streams and graphs; launches by the driver itself."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gguf_run.cuda.cache import FileCache
from gguf_run.cuda.compile import Cubin, KernelCompiler
from gguf_run.cuda.cupy_streams import (
    ASYNCHRONOUS,
    Calls,
    CupyEvent,
    CupyGraph,
    CupyStream,
    Handle,
    release,
)
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
from gguf_run.cuda.driver import MAX_DYNAMIC_SHARED, NON_PORTABLE_CLUSTER, SHARED_CARVEOUT, Driver
from gguf_run.cuda.nvrtc import find_nvrtc
from gguf_run.cuda.resources import kernel_resources
from gguf_run.cuda.room import ADVICE
from gguf_run.cuda.signature import Signatures, confirmed, parse_signatures
from gguf_run.cuda.source import KernelSource
from gguf_run.errors import DeviceError

ALIGNMENT = 256
"""Of what CUDA allocates."""
_TO_DEVICE, _TO_HOST, _ON_DEVICE = 1, 2, 3  # cudaMemcpyKind
_OUT_OF_MEMORY = 2  # cudaErrorMemoryAllocation


class CupyDevice(Device):
    """GPU number `index`; compiled kernels are kept in `cache_dir`.

    `debug` waits after each launch, so that a failure names the kernel that failed. `cuda_path` is
    a CUDA toolkit to take NVRTC from, ahead of NVIDIA's wheels.
    """

    main: CupyStream
    compiles_shapes = True

    def __init__(
        self,
        cache_dir: Path,
        *,
        index: int = 0,
        debug: bool = False,
        cuda_path: Path | None = None,
    ) -> None:
        self._call = Calls()
        self._runtime = self._call.runtime
        self._index = index
        self.debug = debug
        self._graph: CupyGraph | None = None
        driver_major = self._call("the driver's version", self._runtime.driverGetVersion) // 1000
        self._here()
        properties = self._call("the GPU's properties", self._runtime.getDeviceProperties, index)
        self.name = properties["name"].decode()
        self.capability = properties["major"] * 10 + properties["minor"]
        self.n_sm = properties["multiProcessorCount"]
        self.max_shared = properties["sharedMemPerBlockOptin"]
        nvrtc = find_nvrtc(cuda_path, driver_major)
        self.arch = nvrtc.arch(self.capability)
        self._compiler = KernelCompiler(nvrtc, FileCache(cache_dir))
        self._driver = Driver()
        self.main = self.stream()

    # -- memory --------------------------------------------------------------------------------

    @property
    def memory_free(self) -> int:
        self._here()
        return int(self._call("the free memory", self._runtime.memGetInfo)[0])

    @property
    def memory_total(self) -> int:
        self._here()
        return int(self._call("the memory", self._runtime.memGetInfo)[1])

    def alloc(self, n_bytes: int) -> Buffer:
        if n_bytes < 0:
            raise DeviceError(f"{n_bytes} bytes of device memory asked for")
        self._here()
        try:
            memory = Handle(self._runtime.malloc(max(n_bytes, 1)), self._runtime.free)
        except self._runtime.CUDARuntimeError as error:
            if error.status != _OUT_OF_MEMORY:  # a kernel before it has failed
                raise DeviceError(f"{n_bytes} bytes of device memory: {error}") from error
            raise DeviceError(
                f"out of device memory: {n_bytes} bytes asked for, {self.memory_free} of "
                f"{self.memory_total} free ({error}); {ADVICE}"
            ) from error
        return Buffer(memory.number, n_bytes, memory)

    def alloc_many(self, sizes: Sequence[int]) -> list[Buffer]:
        # Asking the driver for 300 weights one by one takes 40 ms.
        starts = [0, *accumulate(-(-n // ALIGNMENT) * ALIGNMENT for n in sizes)]
        whole = self.alloc(starts[-1])
        return [whole.at(start, n) for start, n in zip(starts, sizes, strict=False)]

    def pinned(self, n_bytes: int) -> npt.NDArray[np.uint8]:
        self._here()
        what = f"{n_bytes} bytes of pinned host memory"
        portable = self._runtime.hostAllocPortable
        address = self._call(what, self._runtime.hostAlloc, max(n_bytes, 1), portable)
        memory = (ctypes.c_uint8 * max(n_bytes, 1)).from_address(address)
        # The array keeps `memory` alive, and that the pinned pages.
        weakref.finalize(memory, release, self._runtime.freeHost, address).atexit = False
        return np.ctypeslib.as_array(memory)[:n_bytes]

    def _upload(self, buffer: Buffer, source: npt.NDArray[Any]) -> None:
        self._refuse_in_capture("upload")
        self._copy("upload", buffer.ptr, source.ctypes.data, source.nbytes, _TO_DEVICE, None)
        self._wait_for_main()

    def _download(self, result: npt.NDArray[Any], buffer: Buffer) -> None:
        self._refuse_in_capture("download")
        self._copy("download", result.ctypes.data, buffer.ptr, result.nbytes, _TO_HOST, None)
        self._wait_for_main()

    def upload_async(
        self, buffer: Buffer, pinned: npt.NDArray[np.uint8], stream: Stream | None = None
    ) -> Event:
        buffer.at(0, pinned.nbytes)
        self._copy("upload", buffer.ptr, pinned.ctypes.data, pinned.nbytes, _TO_DEVICE, stream)
        self._keep(buffer, pinned)
        return self.record(stream)

    def download_async(
        self, pinned: npt.NDArray[np.uint8], buffer: Buffer, stream: Stream | None = None
    ) -> Event:
        buffer.at(0, pinned.nbytes)
        self._copy("download", pinned.ctypes.data, buffer.ptr, pinned.nbytes, _TO_HOST, stream)
        self._keep(buffer, pinned)
        return self.record(stream)

    def copy(self, target: Buffer, source: Buffer, stream: Stream | None = None) -> None:
        target.at(0, source.n_bytes)
        self._copy("copy", target.ptr, source.ptr, source.n_bytes, _ON_DEVICE, stream)
        self._keep(target, source)

    def fill(self, buffer: Buffer, byte: int, stream: Stream | None = None) -> None:
        self._here()
        if buffer.n_bytes:
            handle = self._handle(stream)
            self._call("fill", self._runtime.memsetAsync, buffer.ptr, byte, buffer.n_bytes, handle)
        self._keep(buffer)

    def _copy(
        self, what: str, target: int, source: int, n_bytes: int, kind: int, stream: Stream | None
    ) -> None:
        self._here()
        if n_bytes:
            handle = self._handle(stream)
            self._call(what, self._runtime.memcpyAsync, target, source, n_bytes, kind, handle)

    # -- kernels -------------------------------------------------------------------------------

    def modules(
        self, sources: Sequence[KernelSource], progress: Progress | None = None
    ) -> list[Module]:
        cubins = self._compiler.cubins(sources, self.arch, progress)
        self._here()
        signatures = {c.source.path: parse_signatures(c.text) for c in cubins}
        return [self._load(cubin, signatures[cubin.source.path]) for cubin in cubins]

    def _load(self, cubin: Cubin, signatures: Signatures) -> Module:
        module = Handle(self._driver.load(cubin.image), self._driver.unload)
        resources = kernel_resources(cubin.image)
        kernels = {}
        for name, symbol in cubin.symbols.items():
            sizes = resources[symbol].parameter_sizes
            parameters = confirmed(name, signatures, sizes)
            handle = self._driver.function(module.number, symbol)
            # The most shared memory for every kernel: the SMs then never divide L1 anew in between.
            most = self.max_shared - resources[symbol].shared
            self._driver.set_attribute(handle, MAX_DYNAMIC_SHARED, most)
            self._driver.set_attribute(handle, SHARED_CARVEOUT, 100)
            if self.capability >= 90:
                self._driver.set_attribute(handle, NON_PORTABLE_CLUSTER, 1)
            kernels[name] = Kernel(name, parameters, handle, module)
        return kernels

    def _launch(self, launch: Launch, stream: Stream | None) -> None:
        self._here()
        self._driver.launch(launch, self._handle(stream))
        self._keep(launch)
        if self.debug and self._graph is None:
            self._wait_for(launch)

    # -- streams, events, graphs ---------------------------------------------------------------

    def stream(self) -> CupyStream:
        self._here()
        return CupyStream.new(self._call)

    def record(self, stream: Stream | None = None) -> Event:
        self._here()
        return CupyEvent.recorded(self._call, self._stream(stream))

    def wait(self, event: Event, stream: Stream | None = None) -> None:
        assert isinstance(event, CupyEvent)
        self._here()
        handles = self._handle(stream), event.handle.number
        self._call("waiting for an event", self._runtime.streamWaitEvent, *handles)

    @contextmanager
    def capture(self) -> Iterator[Graph]:
        self._refuse_in_capture("another capture")
        self._here()
        graph = CupyGraph(self._call, self.main)
        graph.begin()
        self._graph = graph
        try:
            yield graph
        except BaseException:
            graph.give_up()
            raise
        finally:
            self._graph = None
        graph.end()

    def synchronize(self) -> None:
        self._refuse_in_capture("waiting")
        self._here()
        self._call(ASYNCHRONOUS, self._runtime.deviceSynchronize)

    def close(self) -> None:
        self._graph = None

    def _wait_for_main(self) -> None:
        self._call(ASYNCHRONOUS, self._runtime.streamSynchronize, self.main.handle.number)

    def _here(self) -> None:
        """CUDA's current device is each thread's own."""
        self._call(f"GPU {self._index}", self._runtime.setDevice, self._index)

    def _stream(self, stream: Stream | None) -> CupyStream:
        if stream is None:
            return self.main
        assert isinstance(stream, CupyStream)
        return stream

    def _handle(self, stream: Stream | None) -> int:
        return self._stream(stream).handle.number

    def _keep(self, *used: object) -> None:
        """A recorded graph keeps alive what it works on."""
        if self._graph is not None:
            self._graph.keep.extend(used)

    def _refuse_in_capture(self, what: str) -> None:
        if self._graph is not None:
            raise DeviceError(f"{what} is not possible while a graph is recorded")
