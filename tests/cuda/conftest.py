"""Fixtures of the CUDA tests: emulated devices that share one folder of compiled kernels."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest

from gguf_run.cuda.device import Device
from gguf_run.cuda.emulator import EmulatedDevice

KERNEL_CACHE = Path(tempfile.gettempdir()) / "gguf-run-test-kernels"
"""Kept between runs: a kernel is compiled again only after a change."""


def emulated(**options: Any) -> EmulatedDevice:
    """An emulated device with the checks of alignment and array bounds."""
    return EmulatedDevice(KERNEL_CACHE, **{"checks": True, **options})


@pytest.fixture(params=["forward", "reverse", "random"])
def device(request: pytest.FixtureRequest) -> Device:
    """The emulated device in each order of lanes."""
    return emulated(order=request.param)
