"""Every op case on a GPU against the reference."""

from __future__ import annotations

from pathlib import Path

import pytest
from cases import Case, run_case
from op_cases import ALL_CASES

from gguf_run.cuda.device import Device

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("fuse", [True, False], ids=["fused", "unfused"])
@pytest.mark.parametrize("case", ALL_CASES, ids=str)
def test_op_case(case: Case, fuse: bool, gpu: Device, tmp_path: Path) -> None:
    run_case(case, gpu, tmp_path, fuse)
