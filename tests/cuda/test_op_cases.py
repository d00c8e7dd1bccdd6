"""Every op case on the emulated device against the reference."""

from __future__ import annotations

from pathlib import Path

import pytest
from cases import Case, run_case
from emulated import emulated
from op_cases import ALL_CASES

MODES = {
    "fused": (True, {}),
    "unfused, lanes in random order": (False, {"order": "random", "seed": 1}),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", ALL_CASES, ids=str)
def test_op_case(case: Case, mode: str, tmp_path: Path) -> None:
    fuse, options = MODES[mode]
    run_case(case, emulated(**options), tmp_path, fuse)
