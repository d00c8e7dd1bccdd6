"""Descriptions of tables for Hopper's copy engine; op cases on a GPU say whether they are right."""

from __future__ import annotations

import ctypes

import pytest

from gguf_run.cuda import tensor_map
from gguf_run.cuda.buffer import Buffer
from gguf_run.cuda.tensor_map import N_BYTES, TensorMap
from gguf_run.errors import DeviceError

TABLE = TensorMap(Buffer(1 << 20, 1 << 20, None), 64, 128, 256, 64)


def driver(monkeypatch: pytest.MonkeyPatch, result: int) -> None:
    """A driver that writes fives, or fails."""

    def encode(target: ctypes.c_void_p, *_: object) -> int:
        assert target.value is not None
        assert target.value % 64 == 0
        ctypes.memset(target.value, 5, N_BYTES)
        return result

    monkeypatch.setattr(tensor_map, "_encoder", lambda: encode)


def test_a_description_is_what_the_driver_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    driver(monkeypatch, 0)
    assert TABLE.encoded() == b"\5" * N_BYTES


def test_a_table_that_the_driver_refuses_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    driver(monkeypatch, 1)
    with pytest.raises(DeviceError, match=r"n_column=128.*error 1"):
        TABLE.encoded()
