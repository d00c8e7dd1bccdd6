"""Files reach device memory whole, through slots far smaller than they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from emulated import emulated

from gguf_run.cuda.device import Buffer, Device
from gguf_run.cuda.room import check_room
from gguf_run.cuda.upload import Transfer, Uploader
from gguf_run.errors import DeviceError, GGUFError
from gguf_run.loader_bytes import file_reader

SLOT = 64


@pytest.fixture
def content(tmp_path: Path) -> np.ndarray:
    data = np.random.default_rng(1).integers(0, 256, 5000, np.uint8)
    (tmp_path / "file").write_bytes(data.tobytes())
    return data


def read_back(device: Device, buffer: Buffer) -> np.ndarray:
    return device.download(buffer, np.uint8, (buffer.n_bytes,))


@pytest.mark.parametrize("n_reader", [1, 3, 8])
def test_ranges_of_any_size_arrive_whole(
    tmp_path: Path, content: np.ndarray, n_reader: int
) -> None:
    device = emulated()
    ranges = [(0, 1), (7, SLOT), (99, SLOT + 1), (1000, 4000), (13, SLOT - 1)]
    targets = [device.alloc(n) for _, n in ranges]
    transfers = [
        Transfer(file_reader(tmp_path / "file"), start, target)
        for (start, _), target in zip(ranges, targets, strict=True)
    ]
    counts: list[int] = []
    Uploader(device, n_reader, SLOT).upload(transfers, counts.append)
    for (start, n), target in zip(ranges, targets, strict=True):
        assert np.array_equal(read_back(device, target), content[start : start + n])
    assert sum(counts) == sum(n for _, n in ranges)


def test_a_buffer_may_carry_one_range_after_another(tmp_path: Path, content: np.ndarray) -> None:
    device = emulated()
    staging, kept = device.alloc(500), [device.alloc(500) for _ in range(4)]
    transfers = (
        Transfer(
            file_reader(tmp_path / "file"),
            500 * i,
            staging,
            lambda stream, target=target: device.copy(target, staging, stream),
        )
        for i, target in enumerate(kept)
    )
    Uploader(device, 2, SLOT).upload(transfers)
    assert np.array_equal(np.concatenate([read_back(device, b) for b in kept]), content[:2000])


def test_a_file_that_became_shorter_is_named(tmp_path: Path, content: np.ndarray) -> None:
    device = emulated()
    uploader = Uploader(device, 2, SLOT)
    target = device.alloc(600)
    with pytest.raises(GGUFError, match=r"file: expected \d+ more bytes at offset 5000"):
        uploader.upload([Transfer(file_reader(tmp_path / "file"), 4500, target)])
    uploader.upload([Transfer(file_reader(tmp_path / "file"), 4400, target)])
    assert np.array_equal(read_back(device, target), content[4400:])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    device = emulated()
    with pytest.raises(GGUFError, match="gone: expected a readable file"):
        Uploader(device, 2, SLOT).upload(
            [Transfer(file_reader(tmp_path / "gone"), 0, device.alloc(300))]
        )


def test_too_little_memory_says_what_is_needed_and_what_helps() -> None:
    device = emulated(memory=3 << 30)
    free = device.memory_free
    check_room(device, {"weights": 2 << 30, "KV cache": 1 << 30}, free)
    with pytest.raises(DeviceError) as caught:
        check_room(device, {"weights": 2 << 30, "KV cache": 3 << 29, "activations": 5000}, free)
    message = str(caught.value)
    assert "expected 3.50 GiB of free device memory" in message
    assert "weights 2.00 GiB, KV cache 1.50 GiB, activations 4.9 KiB" in message
    assert "found 3.00 GiB of 3.00 GiB" in message
    assert "n_ctx (-c)" in message
