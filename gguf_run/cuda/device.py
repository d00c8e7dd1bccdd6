"""The device as the backend sees it: memory, kernels, launches, streams, graphs.

Two devices keep this contract: CupyDevice (an NVIDIA GPU) and EmulatedDevice (the same `.cu` files
on the CPU). Everything that can be checked without a device is checked here, so both refuse the
same mistakes alike.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from gguf_run.cuda.buffer import Buffer
from gguf_run.cuda.cache import Progress
from gguf_run.cuda.signature import PackedArguments, Parameter, pack
from gguf_run.cuda.source import KernelSource
from gguf_run.errors import DeviceError

Dim3 = tuple[int, int, int]

__all__ = [
    "Buffer",
    "Device",
    "Event",
    "Graph",
    "Kernel",
    "KernelSource",
    "Launch",
    "Module",
    "Progress",
    "Stream",
]


MAX_GRID_ROWS = 65535
"""Blocks of a grid along y and along z, at most."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel on its device: its typed parameters and the device's handle of it."""

    name: str
    parameters: tuple[Parameter, ...]
    handle: int
    owner: object = field(repr=False, compare=False)


Module = Mapping[str, Kernel]
"""The kernels of one KernelSource by the names that it asked for."""


class Stream(Protocol):
    """A queue of work; work in different streams may run side by side unless an event orders it."""


class Event(Protocol):
    """A mark in a stream."""

    def synchronize(self) -> None:
        """Wait until the work before the mark is done."""

    def elapsed_ms(self, start: Event) -> float:
        """Milliseconds of device time since `start`; both marks must be behind."""


class Graph(Protocol):
    """Recorded work; what it reads and writes stays alive with it."""

    def replay(self) -> None:
        """Run the recorded work on the main stream."""


@dataclass(frozen=True, slots=True)
class Launch:
    """One checked launch: everything but the stream."""

    kernel: Kernel
    grid: Dim3
    block: Dim3
    arguments: PackedArguments
    shared: int
    pdl: bool
    cluster: Dim3 | None
    cooperative: bool

    def __str__(self) -> str:
        return f"{self.kernel.name} grid={self.grid} block={self.block} shared={self.shared}"


class Device(ABC):
    """One device. All work goes to `main` unless a call names another stream.

    `arch` is the compiler's name of the architecture ("sm_90a", or "emulated"), `capability` its
    number (90), `n_sm` the multiprocessors, `max_shared` the most shared memory of a block in
    bytes. With `debug` it waits after each launch, so that a failure names its kernel. Where it
    `compiles_shapes`, kernels may be compiled for the sizes of one model.
    """

    name: str
    arch: str
    capability: int
    n_sm: int
    max_shared: int
    debug: bool = False
    compiles_shapes: bool = False
    main: Stream

    # -- memory ------------------------------------------------------------------------------------

    @property
    @abstractmethod
    def memory_free(self) -> int:
        """Bytes that an allocation could still get."""

    @property
    @abstractmethod
    def memory_total(self) -> int:
        """Bytes of the device's memory."""

    @abstractmethod
    def alloc(self, n_bytes: int) -> Buffer:
        """New memory with undefined content, at least 16-byte aligned; DeviceError says what was
        asked and is free.
        """

    def alloc_many(self, sizes: Sequence[int]) -> list[Buffer]:
        """As `alloc`, for many at once; a device may give them parts of one piece."""
        return [self.alloc(n_bytes) for n_bytes in sizes]

    @abstractmethod
    def pinned(self, n_bytes: int) -> npt.NDArray[np.uint8]:
        """Host memory (n_bytes,) uint8 that asynchronous copies can use."""

    def upload(self, buffer: Buffer, array: npt.NDArray[Any]) -> None:
        """Copy an array's bytes to the start of `buffer`, in order with the main stream's work;
        waits.
        """
        source = np.ascontiguousarray(array)
        _check_room("upload", source.nbytes, buffer)
        if source.nbytes:
            self._upload(buffer, source)

    def download(
        self, buffer: Buffer, dtype: npt.DTypeLike, shape: Sequence[int]
    ) -> npt.NDArray[Any]:
        """The start of `buffer` as a new array of this dtype and shape, after the main stream's
        work.
        """
        result = np.empty(tuple(shape), np.dtype(dtype))
        _check_room("download", result.nbytes, buffer)
        if result.nbytes:
            self._download(result, buffer)
        return result

    @abstractmethod
    def upload_async(
        self, buffer: Buffer, pinned: npt.NDArray[np.uint8], stream: Stream | None = None
    ) -> Event:
        """Start to copy pinned host memory to `buffer`; the event says when `pinned` may be used
        again.
        """

    @abstractmethod
    def download_async(
        self, pinned: npt.NDArray[np.uint8], buffer: Buffer, stream: Stream | None = None
    ) -> Event:
        """Start to copy the start of `buffer` to pinned host memory; the event says when it is
        there.
        """

    @abstractmethod
    def copy(self, target: Buffer, source: Buffer, stream: Stream | None = None) -> None:
        """Copy all of `source` to the start of `target`, on the device."""

    @abstractmethod
    def fill(self, buffer: Buffer, byte: int, stream: Stream | None = None) -> None:
        """Set every byte of `buffer`."""

    # -- kernels -----------------------------------------------------------------------------------

    def module(self, source: KernelSource) -> Module:
        """The kernels of one source, compiled or taken from the cache."""
        return self.modules([source])[0]

    @abstractmethod
    def modules(
        self, sources: Sequence[KernelSource], progress: Progress | None = None
    ) -> list[Module]:
        """The kernels of many sources, those not in the cache compiled side by side."""

    def launch(
        self,
        kernel: Kernel,
        grid: int | Sequence[int],
        block: int | Sequence[int],
        arguments: Sequence[Any],
        *,
        shared: int = 0,
        pdl: bool = False,
        cluster: Sequence[int] | None = None,
        cooperative: bool = False,
        stream: Stream | None = None,
    ) -> None:
        """Put a kernel into a stream.

        `arguments` are Buffers, ints, floats and (for structs) bytes or a TensorMap, in the order
        of the kernel's parameters; `shared` is its dynamic shared memory in bytes. `pdl` lets it
        start before the kernel ahead has ended: it then must call pdl_wait() (ptx.cuh) before it
        touches what that kernel wrote. Nothing is allocated and nothing waits. Raises DeviceError
        naming the kernel and what was wrong.
        """
        launch = Launch(
            kernel,
            _dim3(kernel, "grid", grid),
            _dim3(kernel, "block", block),
            pack(kernel.name, kernel.parameters, arguments),
            shared,
            pdl,
            None if cluster is None else _dim3(kernel, "cluster", cluster),
            cooperative,
        )
        self._check(launch)
        self._launch(launch, stream)

    def _wait_for(self, launch: Launch) -> None:
        """Wait for the launch, so that an error is known to be its own."""
        try:
            self.synchronize()
        except DeviceError as error:
            raise DeviceError(f"{launch}: {error}") from error

    def _check(self, launch: Launch) -> None:
        x, y, z = launch.block
        if x * y * z > 1024 or z > 64:
            raise DeviceError(f"{launch}: a block has at most 1024 threads, 64 of them along z")
        if launch.grid[0] > 2**31 - 1 or max(launch.grid[1:]) > MAX_GRID_ROWS:
            raise DeviceError(f"{launch}: a grid has at most 2^31-1 x 65535 x 65535 blocks")
        if not 0 <= launch.shared <= self.max_shared:
            raise DeviceError(
                f"{launch}: a block has at most {self.max_shared} bytes of shared memory"
            )
        if launch.cluster is not None:
            if self.capability < 90:
                raise DeviceError(f"{launch}: clusters need sm_90, this is {self.arch}")
            if any(g % c for g, c in zip(launch.grid, launch.cluster, strict=True)):
                raise DeviceError(
                    f"{launch}: the grid is no multiple of the cluster {launch.cluster}"
                )

    # -- streams, events, graphs -------------------------------------------------------------------

    @abstractmethod
    def stream(self) -> Stream:
        """A further stream."""

    @abstractmethod
    def record(self, stream: Stream | None = None) -> Event:
        """A mark behind everything that is in the stream now."""

    @abstractmethod
    def wait(self, event: Event, stream: Stream | None = None) -> None:
        """Later work in the stream starts only when the mark is behind; the host does not wait."""

    @abstractmethod
    def capture(self) -> AbstractContextManager[Graph]:
        """`with device.capture() as graph:` records launches, copies and fills instead of running
        them.

        Recorded is the main stream and every stream that waits for an event of it; such a stream
        must be joined again (record, wait) before the block ends.
        """

    @abstractmethod
    def synchronize(self) -> None:
        """Wait for all work; raises DeviceError where a kernel failed."""

    @abstractmethod
    def close(self) -> None:
        """Give everything back; the device can't be used afterwards."""

    def __enter__(self) -> Device:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def _upload(self, buffer: Buffer, source: npt.NDArray[Any]) -> None: ...

    @abstractmethod
    def _download(self, result: npt.NDArray[Any], buffer: Buffer) -> None: ...

    @abstractmethod
    def _launch(self, launch: Launch, stream: Stream | None) -> None: ...


def _check_room(what: str, n_bytes: int, buffer: Buffer) -> None:
    if n_bytes > buffer.n_bytes:
        raise DeviceError(f"{what} of {n_bytes} bytes from or to a buffer of {buffer.n_bytes}")


def _dim3(kernel: Kernel, what: str, size: int | Sequence[int]) -> Dim3:
    sizes: Iterator[int] = iter((size,) if isinstance(size, int | np.integer) else size)
    padded = [*(int(n) for n in sizes), 1, 1]
    if len(padded) > 5 or min(padded) < 1:
        raise DeviceError(
            f"{kernel.name}: a {what} is one to three sizes of at least 1, not {size}"
        )
    return padded[0], padded[1], padded[2]
