"""What the wrappers of the ops over rows accept, and how they see views."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from cases import Case, run_case
from emulated import emulated
from op_cases import FAMILIES

from gguf_run.cuda.ops import recurrent
from gguf_run.cuda.ops.rows import Rows, rows_of
from gguf_run.errors import DeviceError
from gguf_run.graph import F16, F32, Graph, Tensor


def heads(g: Graph, start: int) -> Tensor:
    """(7, 3, 20) inside rows of 100."""
    return g.reshape(g.view(g.input("x", (7, 100), F32), start, start + 60), 7, 3, 20)


def test_tensors_without_gaps_are_one_row() -> None:
    g = Graph()
    a, b = (g.input(name, (2, 3, 8), F32) for name in "ab")
    assert rows_of("add", a, b) == Rows(6, 8, 1, ((8, 0), (8, 0)))
    assert rows_of("add", a, b).flat() == Rows(1, 48, 1, ((0, 0), (0, 0)))


def test_heads_of_a_slice_have_two_strides() -> None:
    g = Graph()
    rows = rows_of("rms_norm", heads(g, 40), g.input("w", (20,), F32))
    assert rows == Rows(21, 20, 3, ((100, 20), (0, 0)))
    assert rows.flat() is rows


def test_rows_at_three_strides_are_refused() -> None:
    g = Graph()
    nested = g.view(g.reshape(g.view(heads(g, 0), 0, 12), 7, 3, 2, 6), 0, 4)
    with pytest.raises(DeviceError, match=r"soft_max: expected rows at one or two strides"):
        rows_of("soft_max", nested)


def refused(build: Callable[[Graph], Tensor], message: str, folder: Path) -> None:
    with pytest.raises(DeviceError, match=message):
        run_case(Case("refused", build), emulated(), folder, fuse=True)


def test_a_half_precision_norm_weight_is_refused(tmp_path: Path) -> None:
    def build(g: Graph) -> Tensor:
        return g.mul(g.rms_norm(g.input("x", (2, 32), F32), 1e-5), g.weight("w", (32,), F16))

    refused(build, r"rms_norm: expected F32, found w: F16 \(32\)", tmp_path)


def test_top_k_of_a_long_row_says_how_large_k_may_be(tmp_path: Path) -> None:
    refused(
        lambda g: g.top_k(g.input("x", (1, 5000), F32), 3000),
        r"top_k: expected k of at most 2048 for rows of more than 4096 elements, found k = 3000",
        tmp_path,
    )


def test_rms_norm_of_squares_beyond_float_is_zero_as_in_the_reference(tmp_path: Path) -> None:
    case = Case(
        "overflow",
        lambda g: g.rms_norm(g.input("x", (1, 1000), F32), 1e-5),
        {"x": lambda rng, t: np.full(t.shape, 1e18, np.float32)},
    )
    with np.errstate(over="ignore"):
        run_case(case, emulated(), tmp_path, fuse=True)


def test_a_convolution_may_have_more_rows_than_a_grid_along_y(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recurrent, "MAX_GRID_ROWS", 3)
    cases = [case for case in FAMILIES["recurrent"] if case.name.startswith("ssm_conv")]
    assert cases
    for case in cases:
        run_case(case, emulated(), tmp_path, fuse=True)
