"""The calls of the CUDA driver that CuPy lacks: launches with attributes, attributes of functions.
And modules, as CuPy's binding of these imports all of CuPy.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

from gguf_run.cuda.device import Launch
from gguf_run.errors import DeviceError

MAX_DYNAMIC_SHARED, SHARED_CARVEOUT, NON_PORTABLE_CLUSTER = 8, 9, 14
"""CUfunction_attribute of the driver API."""
_COOPERATIVE, _CLUSTER, _PDL = 2, 4, 6  # CUlaunchAttributeID


class _Attribute(ctypes.Structure):
    """CUlaunchAttribute: 72 bytes, the value a union of 64."""

    _fields_ = (("id", ctypes.c_uint), ("pad", ctypes.c_uint), ("value", ctypes.c_uint * 16))


class _Config(ctypes.Structure):
    """CUlaunchConfig: 56 bytes."""

    _fields_ = (
        ("grid", ctypes.c_uint * 3),
        ("block", ctypes.c_uint * 3),
        ("shared", ctypes.c_uint),
        ("stream", ctypes.c_void_p),
        ("attributes", ctypes.POINTER(_Attribute)),
        ("n_attributes", ctypes.c_uint),
    )


class Driver:
    """libcuda. A context must be current in the calling thread."""

    def __init__(self) -> None:
        try:
            self._library = ctypes.CDLL("libcuda.so.1")
        except OSError as error:
            raise DeviceError(f"the NVIDIA driver can't be loaded: {error}") from error
        self._launch = self._library.cuLaunchKernelEx
        self._launch.argtypes = [ctypes.c_void_p] * 4

    def launch(self, launch: Launch, stream: int) -> None:
        """Put a launch into the stream of this handle."""
        attributes = _attributes(launch)
        config = _Config(
            launch.grid, launch.block, launch.shared, stream, attributes, len(attributes)
        )
        failed = self._launch(
            ctypes.addressof(config), launch.kernel.handle, launch.arguments.address, None
        )
        if failed:  # the text of a launch costs more than the launch
            self._check(str(launch), failed)

    def load(self, image: bytes) -> int:
        """The module of a cubin."""
        module = ctypes.c_void_p()
        self._check("a module", self._library.cuModuleLoadData(ctypes.byref(module), image))
        return module.value or 0

    def unload(self, module: int) -> None:
        """Give a module back."""
        self._library.cuModuleUnload(ctypes.c_void_p(module))

    def function(self, module: int, symbol: str) -> int:
        """A kernel of a module."""
        found, handle = ctypes.c_void_p(), ctypes.c_void_p(module)
        failed = self._library.cuModuleGetFunction(ctypes.byref(found), handle, symbol.encode())
        self._check(symbol, failed)
        return found.value or 0

    def set_attribute(self, function: int, attribute: int, value: int) -> None:
        """Set an attribute of a kernel."""
        failed = self._library.cuFuncSetAttribute(ctypes.c_void_p(function), attribute, value)
        self._check(f"a kernel's attribute {attribute} = {value}", failed)

    def _check(self, what: str, failed: int) -> None:
        if failed:
            raise DeviceError(f"{what}: {self._reason(failed)}")

    def _reason(self, code: int) -> str:
        name, text = ctypes.c_char_p(), ctypes.c_char_p()
        self._library.cuGetErrorName(code, ctypes.byref(name))
        self._library.cuGetErrorString(code, ctypes.byref(text))
        return f"{(name.value or b'').decode()} ({(text.value or b'').decode()})"


def _attributes(launch: Launch) -> Any:  # an array of _Attribute
    values: list[tuple[int, Sequence[int]]] = []
    if launch.pdl:
        values.append((_PDL, (1,)))
    if launch.cluster is not None:
        values.append((_CLUSTER, launch.cluster))
    if launch.cooperative:
        values.append((_COOPERATIVE, (1,)))
    array = (_Attribute * len(values))()
    for attribute, (identifier, numbers) in zip(array, values, strict=True):
        attribute.id = identifier
        attribute.value[: len(numbers)] = numbers
    return array
