"""Whether a model fits the device's memory, known before it is loaded."""

from __future__ import annotations

from collections.abc import Mapping

from gguf_run.cuda.device import Device
from gguf_run.errors import DeviceError

ADVICE = (
    "lower n_ctx (-c) or n_parallel, take a smaller KV cache type (-ctk, -ctv q8_0 or q4_0), lower "
    "n_batch (-b), or take a smaller quantisation of the model"
)


def check_room(device: Device, needs: Mapping[str, int], free: int) -> None:
    """Raise `DeviceError` where `needs` (bytes by what for) exceed the `free` bytes of a device."""
    total = sum(needs.values())
    if total > free:
        parts = ", ".join(f"{what} {size(n)}" for what, n in needs.items())
        raise DeviceError(
            f"{device.name}: expected {size(total)} of free device memory ({parts}), found "
            f"{size(free)} of {size(device.memory_total)}; {ADVICE}"
        )


def size(n_bytes: int) -> str:
    """Bytes as people read them."""
    if n_bytes < 1 << 20:
        return f"{n_bytes / 1024:.1f} KiB"
    return f"{n_bytes / 2**20:.1f} MiB" if n_bytes < 1 << 30 else f"{n_bytes / 2**30:.2f} GiB"
