"""CUDA calls that fail, with a driver that stands in for NVIDIA's: each is a DeviceError that says
what was tried, and the process goes on.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from emulated import KERNEL_CACHE

from gguf_run import Model
from gguf_run.commands.model_options import demo_model
from gguf_run.cuda import cupy_device, emulator
from gguf_run.cuda.cupy_device import CupyDevice
from gguf_run.cuda.device import Kernel
from gguf_run.cuda.emulator import EmulatedDevice
from gguf_run.errors import DeviceError

TOTAL = 1 << 30
KERNEL = Kernel("add_f32<4>", (), 1, None)


class CudaError(Exception):
    """What CuPy raises; `status` is CUDA's number."""

    def __init__(self, message: str, status: int = 700) -> None:
        super().__init__(message)
        self.status = status


class FakeGpu:
    """CuPy's bindings and libcuda as `CupyDevice` uses them; `failing` are calls that fail."""

    def __init__(self) -> None:
        self.failing: dict[str, str] = {}
        self.used = 0
        self.launch_code = 0
        runtime = SimpleNamespace(
            CUDARuntimeError=CudaError,
            driverGetVersion=lambda: 12080,
            getDeviceProperties=lambda index: {
                "name": b"fake",
                "major": 8,
                "minor": 6,
                "multiProcessorCount": 82,
                "sharedMemPerBlockOptin": 101376,
            },
            memGetInfo=self._call("memGetInfo", lambda: (TOTAL - self.used, TOTAL)),
            deviceSynchronize=self._call("deviceSynchronize"),
            memcpyAsync=self._call("memcpyAsync"),
            memsetAsync=self._call("memsetAsync"),
            malloc=self._malloc,
            free=lambda address: None,
            setDevice=self._call("setDevice"),
            streamNonBlocking=1,
            streamCreateWithFlags=lambda flags: 7,
            streamDestroy=lambda stream: None,
            streamSynchronize=self._call("streamSynchronize"),
        )
        self.api = SimpleNamespace(runtime=runtime)

    def _call(self, name: str, result: Callable[[], Any] = lambda: None) -> Callable[..., Any]:
        def call(*_: object) -> Any:
            if name in self.failing:
                raise CudaError(self.failing[name])
            return result()

        return call

    def _malloc(self, n_bytes: int) -> Any:
        if n_bytes > TOTAL - self.used:
            raise CudaError("cudaErrorMemoryAllocation: out of memory", 2)
        return self._call("malloc", lambda: 1 << 20)()

    def cuLaunchKernelEx(self, *_: object) -> int:
        return self.launch_code

    def cuGetErrorName(self, code: int, name: Any) -> None:
        name._obj.value = b"CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES"

    def cuGetErrorString(self, code: int, text: Any) -> None:
        text._obj.value = b"too many resources requested for launch"


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> FakeGpu:
    fake = FakeGpu()

    def library(name: str) -> Any:
        assert name == "libcuda.so.1"
        launch = fake.cuLaunchKernelEx
        return SimpleNamespace(
            cuLaunchKernelEx=lambda *arguments: launch(*arguments),
            cuGetErrorName=fake.cuGetErrorName,
            cuGetErrorString=fake.cuGetErrorString,
        )

    for name in ("cupy_backends", "cupy_backends.cuda", "cupy_backends.cuda.api"):
        monkeypatch.setitem(sys.modules, name, fake.api)
    monkeypatch.setattr(ctypes, "CDLL", library)
    nvrtc = SimpleNamespace(arch="sm_{}".format, version=(12, 9))
    monkeypatch.setattr(cupy_device, "find_nvrtc", lambda *_: nvrtc)
    return fake


def launch(device: CupyDevice) -> None:
    device.launch(KERNEL, (3, 2), 128, [], shared=512)


LAUNCH = r"add_f32<4> grid=\(3, 2, 1\) block=\(128, 1, 1\) shared=512"


def test_a_launch_that_the_driver_refuses_names_itself_and_the_reason(
    gpu: FakeGpu, tmp_path: Path
) -> None:
    device = CupyDevice(tmp_path)
    gpu.launch_code = 701
    with pytest.raises(DeviceError, match=LAUNCH + ": CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES"):
        launch(device)
    gpu.launch_code = 0
    launch(device)


def test_with_debug_a_kernel_that_fails_is_named_at_once(gpu: FakeGpu, tmp_path: Path) -> None:
    device = CupyDevice(tmp_path, debug=True)
    gpu.failing["deviceSynchronize"] = "cudaErrorIllegalAddress"
    with pytest.raises(DeviceError, match=LAUNCH + ".*cudaErrorIllegalAddress"):
        launch(device)


def test_without_debug_a_failure_that_comes_late_tells_how_to_find_it(
    gpu: FakeGpu, tmp_path: Path
) -> None:
    device = CupyDevice(tmp_path)
    gpu.failing["deviceSynchronize"] = gpu.failing["streamSynchronize"] = "cudaErrorIllegalAddress"
    launch(device)
    buffer = device.alloc(64)
    late = r"started earlier.*debug=True.*--debug-kernels.*cudaErrorIllegalAddress"
    with pytest.raises(DeviceError, match=late):
        device.download(buffer, np.float32, (16,))
    with pytest.raises(DeviceError, match=late):
        device.synchronize()
    device.close()


@pytest.mark.parametrize(
    ("call", "attempt"),
    [
        ("memcpyAsync", lambda d: d.upload(d.alloc(4), np.zeros(1, np.float32))),
        ("memcpyAsync", lambda d: d.copy(d.alloc(4), d.alloc(4))),
        ("memsetAsync", lambda d: d.fill(d.alloc(4), 0)),
        ("setDevice", lambda d: d.fill(d.alloc(4), 0)),
        ("memGetInfo", lambda d: d.memory_free),
        ("memGetInfo", lambda d: d.memory_total),
    ],
)
def test_every_call_that_fails_is_a_device_error(
    gpu: FakeGpu, tmp_path: Path, call: str, attempt: Callable[[CupyDevice], Any]
) -> None:
    device = CupyDevice(tmp_path)
    gpu.failing[call] = "cudaErrorECCUncorrectable"
    with pytest.raises(DeviceError, match="cudaErrorECCUncorrectable"):
        attempt(device)
    gpu.failing.clear()
    attempt(device)


def test_after_out_of_memory_less_can_be_had(gpu: FakeGpu, tmp_path: Path) -> None:
    device = CupyDevice(tmp_path)
    gpu.used = TOTAL - 1000
    with pytest.raises(
        DeviceError, match=r"out of device memory: 1001 bytes asked for, 1000 of 1073741824 free"
    ):
        device.alloc(1001)
    assert device.alloc(1000).n_bytes == 1000


def test_memory_that_is_refused_for_another_reason_is_not_called_out_of_memory(
    gpu: FakeGpu, tmp_path: Path
) -> None:
    device = CupyDevice(tmp_path)
    gpu.failing["malloc"] = "cudaErrorIllegalAddress"
    with pytest.raises(DeviceError, match=r"^64 bytes of device memory: cudaErrorIllegalAddress"):
        device.alloc(64)


def test_a_gpu_that_is_too_old_is_refused(
    gpu: FakeGpu, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Missing(SimpleNamespace):
        def arch(self, capability: int) -> str:
            raise DeviceError(f"expected a GPU of compute capability 7.5, found sm_{capability}")

    monkeypatch.setattr(cupy_device, "find_nvrtc", lambda *_: Missing())
    with pytest.raises(DeviceError, match="found sm_86"):
        CupyDevice(tmp_path)


def test_a_model_that_has_no_room_leaves_room_for_a_smaller_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    devices = []

    def small(*options: Any, **more: Any) -> EmulatedDevice:
        devices.append(EmulatedDevice(KERNEL_CACHE, memory=96 << 20))
        return devices[-1]

    monkeypatch.setattr(emulator, "EmulatedDevice", small)
    with pytest.raises(DeviceError, match=r"KV cache 320.*, found 96.* MiB; lower n_ctx"):
        Model(demo_model(), "emulated", n_ctx=1 << 17)
    assert devices[0].memory_free == devices[0].memory_total
    with Model(demo_model(), "emulated", n_ctx=64) as model:
        assert len(list(model.generate("Once", max_tokens=2, temperature=0))) == 2
