"""Fixtures of the CUDA tests."""

from __future__ import annotations

import pytest
from emulated import emulated

from gguf_run.cuda.device import Device


@pytest.fixture(params=["forward", "reverse", "random"])
def device(request: pytest.FixtureRequest) -> Device:
    """The emulated device in each order of lanes."""
    return emulated(order=request.param)
