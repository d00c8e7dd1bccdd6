"""Products with chosen experts on GPUs whose shared memory holds small tiles alone, and where the
kernel behind starts before the experts are chosen."""

from __future__ import annotations

from pathlib import Path

import pytest
from cases import Case, run_case
from emulated import emulated
from op_cases import FAMILIES

CASES = [
    case
    for case in FAMILIES["mul_mat_id"]
    if "tokens x" in case.name and any(kind in case.name for kind in ("Q4_0", "Q8_0", "F16"))
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_op_case_on_a_gpu_with_little_shared_memory(case: Case, tmp_path: Path) -> None:
    run_case(case, emulated(capability=75), tmp_path, fuse=True)


EARLY = [
    case
    for case in FAMILIES["mul_mat_id"]
    if case.name.startswith(("experts Q4_0", "experts Q5_0", "experts Q8_0", "experts MXFP4"))
    and ", 1 tokens, " in case.name
]


@pytest.mark.parametrize("case", EARLY, ids=str)
def test_experts_guessed_before_they_are_chosen_change_no_result(
    case: Case, tmp_path: Path
) -> None:
    """Launched early, the last product finds poison where the experts will be, or old ones."""
    run_case(case, emulated(order="reverse"), tmp_path, fuse=True)
