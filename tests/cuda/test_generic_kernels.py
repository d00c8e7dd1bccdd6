"""Kernels of a decode step on GPUs without bulk copies and dependent launches."""

from __future__ import annotations

from pathlib import Path

import pytest
from cases import Case, run_case
from emulated import emulated
from op_cases import FAMILIES

CASES = [*FAMILIES["stream_mul_mat"], *FAMILIES["attn_decode"]]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_op_case_on_an_older_gpu(case: Case, tmp_path: Path) -> None:
    run_case(case, emulated(capability=80), tmp_path, fuse=True)
