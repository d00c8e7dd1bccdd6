"""Emulated devices for tests, all with one folder of compiled kernels."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from gguf_run.cuda.emulator import EmulatedDevice

KERNEL_CACHE = Path(tempfile.gettempdir()) / "gguf-run-test-kernels"
"""Kept between runs: a kernel is compiled again only after a change."""


def emulated(**options: Any) -> EmulatedDevice:
    """An emulated device."""
    return EmulatedDevice(KERNEL_CACHE, **options)
