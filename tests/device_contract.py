"""What every device must do, as functions of a device: the emulator's tests and the GPU's call the
same ones.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gguf_run.cuda.device import Buffer, Device, KernelSource
from gguf_run.errors import DeviceError

KERNELS = Path(__file__).parent / "cuda" / "kernels"
EXAMPLE = KernelSource(KERNELS / "example.cu", ("axpy", "row_sum<4>", "reverse", "widths"))


def put(device: Device, array: np.ndarray) -> Buffer:
    """The array in new device memory."""
    buffer = device.alloc(array.nbytes)
    device.upload(buffer, array)
    return buffer


def check_memory(device: Device) -> None:
    x = np.arange(100, dtype=np.float32)
    buffer = put(device, x)
    assert np.array_equal(device.download(buffer.at(40), np.float32, (5, 2)).ravel(), x[10:20])
    other = device.alloc(400)
    device.fill(other, 0)
    device.copy(other.at(8, 16), buffer.at(4, 16))
    assert device.download(other, np.float32, (8,)).tolist() == [0, 0, 1, 2, 3, 4, 0, 0]
    with pytest.raises(DeviceError, match="400"):
        device.upload(buffer, np.zeros(101, np.float32))
    with pytest.raises(DeviceError, match="outside a buffer of 400"):
        buffer.at(396, 8)


def check_memory_in_parts(device: Device) -> None:
    buffers = device.alloc_many([400, 0, 7, 64])
    assert [b.n_bytes for b in buffers] == [400, 0, 7, 64]
    assert not any(b.ptr % 16 for b in buffers if b.n_bytes > 16)
    for i, b in enumerate(buffers):
        device.fill(b, i + 1)
    for i, b in enumerate(buffers):
        assert (device.download(b, np.uint8, (b.n_bytes,)) == i + 1).all()
    assert device.alloc_many([]) == []


def check_async_copies(device: Device) -> None:
    stream = device.stream()
    buffer = device.alloc(256)
    pinned = device.pinned(256)
    pinned[:] = np.arange(256)
    uploaded = device.upload_async(buffer, pinned, stream)
    device.wait(uploaded)
    back = device.pinned(256)
    device.download_async(back, buffer).synchronize()
    assert np.array_equal(back, np.arange(256))


def check_launches(device: Device) -> None:
    kernels = device.module(EXAMPLE)
    x = np.arange(1000, dtype=np.float32)
    bx, by = put(device, x), put(device, x)
    device.launch(kernels["axpy"], 4, 256, [2.0, bx, by, 1000])
    assert np.array_equal(device.download(by, np.float32, (1000,)), 3 * x)
    device.launch(kernels["row_sum<4>"], 10, (128,), [bx, by, 100])
    assert np.array_equal(device.download(by, np.float32, (10,)), x.reshape(10, 100).sum(1))
    device.launch(kernels["reverse"], (2, 1), (128, 1, 1), [bx, by], shared=512)
    backwards = x[:256].reshape(2, 128)[:, ::-1]
    assert np.array_equal(device.download(by, np.float32, (2, 128)), backwards)


def check_argument_widths(device: Device) -> None:
    kernel = device.module(EXAMPLE)["widths"]
    y = device.alloc(64)
    line = np.float32(8.5).tobytes() + np.int32(9).tobytes()
    device.launch(kernel, 1, 1, [200, np.int16(-4), 2**40, 6.5, np.float16(7.5), line, True, y])
    expected = [200, -4, 2.0**40, 6.5, 7.5, 8.5, 9, 1]
    assert device.download(y, np.float64, (8,)).tolist() == expected


def check_graph(device: Device) -> None:
    kernel = device.module(EXAMPLE)["axpy"]
    x, y = put(device, np.ones(64, np.float32)), put(device, np.zeros(64, np.float32))
    with device.capture() as graph:
        device.launch(kernel, 1, 64, [1.0, x, y, 64])
        device.copy(x, y)
    assert not device.download(y, np.float32, (64,)).any(), "recording runs nothing"
    for expected in (1, 2, 4):
        graph.replay()
        assert (device.download(y, np.float32, (64,)) == expected).all()


def check_branches_of_a_graph(device: Device) -> None:
    kernel = device.module(EXAMPLE)["axpy"]
    x, y, z = (put(device, np.full(64, v, np.float32)) for v in (1, 2, 4))
    side = device.stream()
    with device.capture() as graph:
        device.wait(device.record(), side)
        device.launch(kernel, 1, 64, [1.0, x, y, 64])
        device.launch(kernel, 1, 64, [1.0, x, z, 64], stream=side)
        device.wait(device.record(side))
        device.launch(kernel, 1, 64, [1.0, z, y, 64])
    graph.replay()
    assert (device.download(y, np.float32, (64,)) == 1 + 2 + 4 + 1).all()


def check_streams_of_a_capture(device: Device) -> None:
    kernel = device.module(EXAMPLE)["axpy"]
    x = put(device, np.zeros(4, np.float32))
    early, side = device.record(), device.stream()

    def forget_to_join() -> None:
        with device.capture():
            device.wait(device.record(), side)
            device.launch(kernel, 1, 32, [1.0, x, x, 4], stream=side)

    def wait_for_what_is_not_captured() -> None:
        with device.capture():
            device.wait(early)

    for mistake in (forget_to_join, wait_for_what_is_not_captured):
        with pytest.raises(DeviceError):
            mistake()
    device.launch(kernel, 1, 32, [1.0, x, x, 4])
    assert not device.download(x, np.float32, (4,)).any()


def check_events(device: Device) -> None:
    start = device.record()
    device.fill(device.alloc(1 << 20), 0)
    end = device.record()
    end.synchronize()
    assert end.elapsed_ms(start) > 0


def check_out_of_memory(device: Device) -> None:
    with pytest.raises(DeviceError, match=rf"{1 << 50} bytes asked for, \d+ of \d+ free"):
        device.alloc(1 << 50)
    check_memory(device)


def check_memory_is_given_back(device: Device) -> None:
    free = device.memory_free
    buffer = device.alloc(64 << 20)
    view = buffer.at(10)
    del buffer
    assert device.memory_free <= free - (64 << 20), "a view keeps its memory"
    del view
    assert device.memory_free == free


CHECKS = [value for name, value in list(globals().items()) if name.startswith("check_")]
