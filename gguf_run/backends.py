"""Opens the backend for a device, by name."""

from __future__ import annotations

from collections.abc import Callable

from gguf_run.engine import Backend
from gguf_run.errors import DeviceError
from gguf_run.loader import GGUFFile

DEVICES = ("auto", "cpu", "cuda", "emulated")

Progress = Callable[[str, int, int], None]


def wake(device: str) -> None:
    """Begin to make ready what `open_backend` will open; does not wait."""
    if device in ("auto", "cuda"):
        from gguf_run.cuda.wake import wake_gpu

        wake_gpu()


def open_backend(
    device: str, file: GGUFFile, use_graphs: bool, debug: bool, progress: Progress | None
) -> Backend:
    """The backend of one of `DEVICES` for a file; arguments as for `Model`.

    Raises `DeviceError` where there is no such device.
    """
    if device not in DEVICES:
        raise DeviceError(f"device: expected one of {', '.join(DEVICES)}, found {device!r}")
    if device == "auto":
        from gguf_run.cuda.select import is_available

        device = "cuda" if is_available() else "cpu"
    if device == "cpu":
        from gguf_run.reference_backend import ReferenceBackend

        return ReferenceBackend(file)
    from gguf_run.cuda.select import open_device

    cuda = open_device(device, debug)
    from gguf_run.cuda.backend import CudaBackend

    return CudaBackend(file, cuda, use_graphs=use_graphs, progress=progress)
