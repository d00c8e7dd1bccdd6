"""The contract of a device, on a GPU: `python -m pytest -m gpu tests/gpu`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import device_contract
import ptx_contract
import pytest

from gguf_run.cuda.device import Device

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Device]:
    cupy = pytest.importorskip("cupy")
    if not cupy.cuda.is_available():
        pytest.skip("no GPU here")
    from gguf_run.cuda.cupy_device import CupyDevice

    with CupyDevice(Path(tmp_path_factory.mktemp("kernels")), debug=True) as device:
        yield device


@pytest.mark.parametrize(
    "check", device_contract.CHECKS + ptx_contract.CHECKS, ids=lambda check: check.__name__
)
def test_device_contract(device: Device, check: Callable[[Device], None]) -> None:
    check(device)
