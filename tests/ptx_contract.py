"""What the functions of ptx.cuh compute, as functions of a device: their twins and the hardware
must agree.
"""

from __future__ import annotations

import numpy as np
from device_contract import KERNELS, put

from gguf_run.cuda.device import Device, KernelSource, Module

_EVERYWHERE = (
    "mma_16<false>",
    "mma_16<true>",
    "mma_ldmatrix",
    "mma_s8",
    "staged",
    "reductions",
    "grid_barrier",
)


def _kernels(device: Device) -> Module:
    late = ("pipeline",) if device.capability >= 90 else ()
    return device.module(KernelSource(KERNELS / "tensor.cu", _EVERYWHERE + late))


def _small(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    """Values whose products and sums are exact in f32: multiples of 1/4 (also exact in f16 and
    bf16).
    """
    return np.random.default_rng(seed).integers(-16, 17, shape).astype(np.float32) / 4


def check_mma_f16(device: Device) -> None:
    a, b, c = _small(0, (16, 16)), _small(1, (8, 16)), device.alloc(512)
    arguments = [put(device, a.astype(np.float16)), put(device, b.astype(np.float16)), c]
    device.launch(_kernels(device)["mma_16<false>"], 1, 32, arguments)
    assert np.array_equal(device.download(c, np.float32, (16, 8)), a @ b.T)


def check_mma_bf16(device: Device) -> None:
    a, b, c = _small(2, (16, 16)), _small(3, (8, 16)), device.alloc(512)
    upper_halves = [(m.view(np.uint32) >> 16).astype(np.uint16) for m in (a, b)]
    device.launch(
        _kernels(device)["mma_16<true>"], 1, 32, [put(device, m) for m in upper_halves] + [c]
    )
    assert np.array_equal(device.download(c, np.float32, (16, 8)), a @ b.T)


def check_ldmatrix(device: Device) -> None:
    a, b, c = _small(4, (16, 16)), _small(5, (16, 8)), device.alloc(512)
    arguments = [put(device, a.astype(np.float16)), put(device, b.astype(np.float16)), c]
    device.launch(_kernels(device)["mma_ldmatrix"], 1, 32, arguments)
    assert np.array_equal(device.download(c, np.float32, (16, 8)), a @ b)


def check_mma_s8(device: Device) -> None:
    random = np.random.default_rng(6)
    a, b = (random.integers(-128, 128, (n, 32), np.int8) for n in (16, 8))
    c = device.alloc(512)
    device.launch(_kernels(device)["mma_s8"], 1, 32, [put(device, a), put(device, b), c])
    expected = a.astype(np.int32) @ b.astype(np.int32).T
    assert np.array_equal(device.download(c, np.int32, (16, 8)), expected)


def check_copy_async(device: Device) -> None:
    x, y = np.arange(128, dtype=np.float32), device.alloc(512)
    kernel = _kernels(device)["staged"]
    device.launch(kernel, 1, 32, [put(device, x), y, 100], shared=640)
    x[100:] = 0
    assert np.array_equal(device.download(y, np.float32, (32, 4)), x.reshape(32, 4)[::-1])


def check_bulk_copies_and_mbarriers(device: Device) -> None:
    if device.capability < 90:
        return
    x = np.arange(7 * 128, dtype=np.float32)
    y = device.alloc(x.nbytes)
    kernel = _kernels(device)["pipeline"]
    buffer = put(device, x)
    for _ in range(2):
        device.launch(kernel, 1, 64, [buffer, y, 7], pdl=True)
    assert np.array_equal(device.download(y, np.float32, x.shape), 2 * x)


def check_reductions(device: Device) -> None:
    x, y = _small(7, (128,)), device.alloc(24)
    device.launch(_kernels(device)["reductions"], 1, 128, [put(device, x), y])
    dot = 3 * 3 + 2 * 2 + 1 * 1 + 255 * -1 + 7
    words = x[:32].view(np.uint32)
    extremes = np.array([words.max(), words.min()]).astype(np.uint32).view(np.float32)
    expected = [x.sum(), x.max(), x[:8].max(), dot, *extremes]
    assert device.download(y, np.float32, (6,)).tolist() == expected


def check_cooperative_launch(device: Device) -> None:
    n = device.n_sm
    counter, seen = put(device, np.zeros(1, np.uint32)), device.alloc(4 * n)
    device.launch(_kernels(device)["grid_barrier"], n, 32, [counter, seen], cooperative=True)
    assert (device.download(seen, np.int32, (n,)) == n).all()


CHECKS = [value for name, value in list(globals().items()) if name.startswith("check_")]
