"""The tuning table: every launch finds its row, the most particular one there is."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from gguf_run.cuda.ops.stream_mul_mat import KINDS
from gguf_run.cuda.tuning import (
    ANY,
    BULK,
    GENERIC,
    HUGE,
    LARGE,
    MEDIUM,
    SIZES,
    SMALL,
    STREAMS,
    Stream,
    stream,
    stream_key,
)

GPU: Any = SimpleNamespace(capability=90, n_sm=132)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("generation", [BULK, GENERIC])
def test_every_launch_has_a_row(generation: str, kind: str) -> None:
    for size in (*SIZES, HUGE):
        assert isinstance(stream((generation, kind, size, "Q4_0")), Stream)


@pytest.mark.parametrize(
    ("n_bytes", "size"),
    [(1, SMALL), (40 << 10, SMALL), (84 << 10, MEDIUM), (207 << 10, LARGE), (391 << 10, HUGE)],
)
def test_the_size_is_that_of_the_weights_a_multiprocessor(n_bytes: int, size: str) -> None:
    assert stream_key(GPU, "norm_gate_up", "Q8_0", n_bytes * 132)[2] == size


def test_a_row_for_a_type_comes_before_that_of_its_size_and_kind() -> None:
    kind = "cast_mul_mat"
    of_type = STREAMS[BULK, kind, MEDIUM, "Q8_0"]
    of_size, of_kind = STREAMS[BULK, kind, MEDIUM, ANY], STREAMS[BULK, kind, ANY, ANY]
    assert len({of_type, of_size, of_kind}) == 3
    assert stream((BULK, kind, MEDIUM, "Q8_0")) is of_type
    assert stream((BULK, kind, MEDIUM, "Q4_0")) is of_size
    assert stream((BULK, kind, LARGE, "Q8_0")) is of_kind


def test_every_row_is_one_that_a_launch_can_find() -> None:
    for generation, kind, size, dtype in STREAMS:
        assert size in (*SIZES, HUGE, ANY)
        assert dtype == ANY or size != ANY, f"{generation}, {kind}: types are looked up by size"
