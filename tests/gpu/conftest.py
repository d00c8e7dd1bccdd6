"""The GPU that the tests marked `gpu` run on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gguf_run.cuda.device import Device
from gguf_run.cuda.select import is_available, open_device


@pytest.fixture(scope="session")
def gpu() -> Iterator[Device]:
    """One device for all tests, with the user's cache of kernels."""
    if not is_available():
        pytest.skip("no GPU here")
    with open_device("cuda") as device:
        yield device
