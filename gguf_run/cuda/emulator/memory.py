"""The emulator's device memory: each allocation ends at a page that can't be touched."""

from __future__ import annotations

import ctypes
import mmap
import threading
import weakref

import numpy as np
import numpy.typing as npt

from gguf_run.cuda.buffer import Buffer
from gguf_run.cuda.room import ADVICE
from gguf_run.errors import DeviceError

PAGE = mmap.PAGESIZE
ALIGNMENT = 16
"""What kernels may rely on. CUDA aligns to 256; a stricter end catches reads that run over it."""
POISON = 0xFF
"""New memory is full of it: NaN as a float of any width, -1 as an int."""
_GUARD = 0xA5

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


def view(address: int, n_bytes: int) -> npt.NDArray[np.uint8]:
    """The bytes at an address."""
    return np.ctypeslib.as_array((ctypes.c_uint8 * n_bytes).from_address(address))


class Allocation:
    """Pages from the system: [no access | guard bytes | content | guard bytes | no access]."""

    def __init__(self, n_bytes: int) -> None:
        self.n_bytes = n_bytes
        room = -(-n_bytes // ALIGNMENT) * ALIGNMENT
        inner = -(-max(room, 1) // PAGE) * PAGE
        size = inner + 2 * PAGE
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        base = _libc.mmap(None, size, mmap.PROT_READ | mmap.PROT_WRITE, flags, -1, 0)
        if base in (None, ctypes.c_void_p(-1).value):
            raise DeviceError(
                f"{n_bytes} bytes asked for, but the system has no memory for them; {ADVICE}"
            )
        _libc.mprotect(base, PAGE, 0)
        _libc.mprotect(base + PAGE + inner, PAGE, 0)
        self.end = base + PAGE + inner
        self.ptr = self.end - room
        view(self.ptr, n_bytes)[:] = POISON
        behind = self.ptr + n_bytes
        self._guards = {
            "ahead of": (base + PAGE, bytes([_GUARD]) * (inner - room)),
            "behind": (behind, bytes([_GUARD]) * (self.end - behind)),
        }
        self._set_guards()
        self._finalizer = weakref.finalize(self, _libc.munmap, base, size)

    def check(self) -> None:
        """Raise DeviceError where a kernel wrote beside the content."""
        for where, (address, guard) in self._guards.items():
            if ctypes.string_at(address, len(guard)) != guard:
                self._set_guards()
                raise DeviceError(f"a kernel wrote {where} a buffer of {self.n_bytes} bytes")

    def _set_guards(self) -> None:
        for address, guard in self._guards.values():
            ctypes.memmove(address, guard, len(guard))


class Memory:
    """All allocations of one device, within a limit in bytes. Threads may allocate at once."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._live: weakref.WeakSet[Allocation] = weakref.WeakSet()
        self._lock = threading.Lock()

    @property
    def used(self) -> int:
        return sum(a.n_bytes for a in self._allocations())

    def _allocations(self) -> list[Allocation]:
        with self._lock:
            return list(self._live)

    def alloc(self, n_bytes: int) -> Buffer:
        if n_bytes < 0:
            raise DeviceError(f"{n_bytes} bytes of device memory asked for")
        free = self.limit - self.used
        if n_bytes > free:
            raise DeviceError(
                f"out of device memory: {n_bytes} bytes asked for, {free} of {self.limit} free; "
                f"{ADVICE}"
            )
        allocation = Allocation(n_bytes)
        with self._lock:
            self._live.add(allocation)
        return Buffer(allocation.ptr, n_bytes, allocation)

    def check(self) -> None:
        """Raise DeviceError where a kernel wrote beside a buffer."""
        for allocation in self._allocations():
            allocation.check()

    def describe(self, address: int) -> str:
        """Where an address lies: in words, by the nearest buffer."""
        near = min(
            self._allocations(),
            key=lambda a: max(a.ptr - address, address - a.ptr - a.n_bytes, 0),
            default=None,
        )
        if near is None or not near.ptr - 2**20 < address < near.end + 2**20:
            return "far from every buffer"
        offset = address - near.ptr
        return f"at byte {offset} of a buffer of {near.n_bytes} bytes"
