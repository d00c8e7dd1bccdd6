"""Which device: finds a GPU and opens devices by name, with errors that say what is missing."""

from __future__ import annotations

from pathlib import Path

from platformdirs import user_cache_path

from gguf_run.cuda.device import Device
from gguf_run.errors import DeviceError

INSTALL = "pip install 'gguf-run[cuda12]' (or [cuda13], by the CUDA version of the driver)"


def kernel_cache() -> Path:
    """The folder of compiled kernels in the user's cache (XDG_CACHE_HOME where it is set)."""
    return user_cache_path("gguf-run") / "kernels"


def is_available() -> bool:
    """Whether CuPy is installed and finds an NVIDIA GPU."""
    try:
        from cupy_backends.cuda.api import runtime

        return bool(runtime.getDeviceCount() > 0)
    except Exception:  # a broken CuPy or driver raises anything; then there is no GPU for us
        return False


def open_device(name: str, debug: bool = False) -> Device:
    """The device "cuda" or "emulated"; with `debug` it waits after each launch.

    Raises `DeviceError` that says what is missing and what to install.
    """
    if name == "emulated":
        from gguf_run.cuda.emulator import EmulatedDevice

        return EmulatedDevice(kernel_cache(), debug=debug)
    try:
        import cupy_backends  # noqa: F401  (what CuPy brings along and the device uses)
    except ImportError as error:
        raise DeviceError(
            f"device cuda: expected CuPy, found none ({error}); install it: {INSTALL}; "
            "or run on the CPU with --device cpu"
        ) from None
    if not is_available():
        raise DeviceError(
            "device cuda: expected an NVIDIA GPU and its driver, found none; see nvidia-smi, "
            "or run on the CPU with --device cpu"
        )
    from gguf_run.cuda.cupy_device import CupyDevice

    return CupyDevice(kernel_cache(), debug=debug)
