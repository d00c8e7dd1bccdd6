"""Wakes the GPU while the process is still busy with itself.

The driver takes 0.3 to 0.5 s until a process can use a GPU (on an H200: more where a machine has
several), and needs no Python for it: enough time to import the package and to read a file's header.
"""

from __future__ import annotations

import ctypes
from functools import cache
from threading import Thread


@cache
def wake_gpu() -> Thread:
    """Begin to make the first GPU ready, once in a process; whoever opens it waits for the rest.

    Nothing happens where there is no driver or no GPU: opening one will say so. The process ends
    when the driver is done.
    """
    thread = Thread(target=_wake, name="gguf-run-wake")
    thread.start()
    return thread


def _wake() -> None:
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return
    gpu, context = ctypes.c_int(), ctypes.c_void_p()
    if driver.cuInit(0) == 0 and driver.cuDeviceGet(ctypes.byref(gpu), 0) == 0:
        driver.cuDevicePrimaryCtxRetain(ctypes.byref(context), gpu)
