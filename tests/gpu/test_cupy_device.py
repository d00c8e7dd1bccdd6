"""The contract of a device, on a GPU: `python -m pytest -m gpu tests/gpu`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import device_contract
import numpy as np
import ptx_contract
import pytest
from device_contract import EXAMPLE, KERNELS, put

from gguf_run.cuda.device import Device, KernelSource
from gguf_run.errors import DeviceError

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module", params=[False, True], ids=["asynchronous", "debug"])
def device(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Device]:
    cupy = pytest.importorskip("cupy")
    if not cupy.cuda.is_available():
        pytest.skip("no GPU here")
    from gguf_run.cuda.cupy_device import CupyDevice

    with CupyDevice(tmp_path_factory.mktemp("kernels"), debug=request.param) as device:
        yield device


@pytest.mark.parametrize(
    "check", device_contract.CHECKS + ptx_contract.CHECKS, ids=lambda check: check.__name__
)
def test_device_contract(device: Device, check: Callable[[Device], None]) -> None:
    check(device)


def test_facts_of_the_gpu(device: Device) -> None:
    assert device.arch.startswith(f"sm_{device.capability}")
    assert device.n_sm > 0
    assert device.max_shared >= 48 << 10
    assert 0 < device.memory_free <= device.memory_total


def test_all_shared_memory_can_be_used(device: Device) -> None:
    kernel = device.module(EXAMPLE)["reverse"]
    x = put(device, np.arange(32, dtype=np.float32))
    device.launch(kernel, 1, 32, [x, x], shared=device.max_shared)
    assert device.download(x, np.float32, (32,)).tolist() == list(range(31, -1, -1))


def test_dependent_launches_in_a_graph(device: Device) -> None:
    if device.capability < 90:
        pytest.skip("programmatic dependent launches need sm_90")
    kernel = device.module(KernelSource(KERNELS / "tensor.cu", ("dependent",)))["dependent"]
    x = np.arange(1 << 16, dtype=np.float32)
    buffers = [put(device, x), put(device, x)]
    with device.capture() as graph:
        for i in range(20):
            arguments = [buffers[i % 2], buffers[1 - i % 2], len(x)]
            device.launch(kernel, len(x) // 256, 256, arguments, pdl=True)
    graph.replay()
    assert np.array_equal(device.download(buffers[0], np.float32, x.shape), x + 20)


def test_cluster_launch(device: Device) -> None:
    if device.capability < 90:
        pytest.skip("clusters need sm_90")
    kernel = device.module(EXAMPLE)["axpy"]
    x, y = put(device, np.ones(1024, np.float32)), put(device, np.zeros(1024, np.float32))
    device.launch(kernel, 16, 64, [1.0, x, y, 1024], cluster=(16, 1, 1))
    assert (device.download(y, np.float32, (1024,)) == 1).all()


def test_refused_launch_names_the_kernel(device: Device) -> None:
    kernel = device.module(EXAMPLE)["row_sum<4>"]
    with pytest.raises(DeviceError, match=r"row_sum<4> grid=\(1, 1, 1\) block=\(256.*CUDA_ERROR"):
        device.launch(kernel, 1, 256, [None, None, 0])


def test_capture_that_fails_leaves_the_device_usable(device: Device) -> None:
    kernel = device.module(EXAMPLE)["axpy"]
    buffer = put(device, np.ones(4, np.float32))

    def record() -> None:
        with device.capture():
            device.launch(kernel, 1, 32, [1.0, buffer, buffer, 4])
            device.download(buffer, np.float32, (4,))

    with pytest.raises(DeviceError, match="while a graph is recorded"):
        record()
    assert device.download(buffer, np.float32, (4,)).tolist() == [1, 1, 1, 1]


def test_second_device_compiles_nothing(tmp_path: Path) -> None:
    pytest.importorskip("cupy")
    from gguf_run.cuda.cupy_device import CupyDevice

    told: list[str] = []
    for _ in range(2):
        with CupyDevice(tmp_path) as device:
            device.modules([EXAMPLE], lambda what, *_: told.append(what))
    assert told == ["example.cu"]


@pytest.mark.parametrize("debug", [False, True])
def test_illegal_access_is_an_error_that_debug_pins_to_its_kernel(
    tmp_path: Path, debug: bool
) -> None:
    pytest.importorskip("cupy")
    # In a process of its own: CUDA gives up a process after an illegal access.
    code = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(Path(device_contract.__file__).parent)!r})
from device_contract import KERNELS
from gguf_run.cuda.cupy_device import CupyDevice
from gguf_run.cuda.device import KernelSource
from gguf_run.errors import DeviceError
device = CupyDevice(Path({str(tmp_path)!r}), debug={debug})
kernel = device.module(KernelSource(KERNELS / "broken.cu", ("write_at",)))["write_at"]
try:
    device.launch(kernel, 1, 1, [None, 0])
    device.synchronize()
except DeviceError as error:
    print("caught", error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "caught" in done.stdout
    assert "cudaErrorIllegalAddress" in done.stdout
    assert ("write_at grid=(1, 1, 1)" in done.stdout) == debug
