"""The emulator's device memory, by itself."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from gguf_run.cuda.emulator.memory import Memory


@pytest.fixture
def restless() -> Iterator[None]:
    """Threads that take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("restless")
def test_threads_may_allocate_at_once() -> None:
    memory = Memory(1 << 30)
    with ThreadPoolExecutor(4) as pool:
        buffers = [run.result() for run in [pool.submit(memory.alloc, 64) for _ in range(400)]]
    assert memory.used == 64 * len(buffers)
