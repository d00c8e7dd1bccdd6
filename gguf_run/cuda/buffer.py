"""Device memory as the rest of the backend sees it: an address and a length."""

from __future__ import annotations

from dataclasses import dataclass, field

from gguf_run.errors import DeviceError


@dataclass(frozen=True, slots=True)
class Buffer:
    """`n_bytes` of device memory at the address `ptr`.

    `owner` keeps the allocation alive: the memory is given back when the last Buffer that views it
    is gone.
    """

    ptr: int
    n_bytes: int
    owner: object = field(repr=False, compare=False)

    def at(self, offset: int, n_bytes: int | None = None) -> Buffer:
        """A view from `offset` bytes on, to the end by default; DeviceError outside."""
        n = self.n_bytes - offset if n_bytes is None else n_bytes
        if offset < 0 or n < 0 or offset + n > self.n_bytes:
            raise DeviceError(f"bytes {offset}:{offset + n} lie outside a buffer of {self.n_bytes}")
        return Buffer(self.ptr + offset, n, self.owner)
