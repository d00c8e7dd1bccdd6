"""The functions of ptx.cuh: their twins on the emulator, as sm_75 and as sm_90."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from emulated import emulated
from ptx_contract import CHECKS

from gguf_run.cuda.device import Device


@pytest.mark.parametrize("capability", [75, 90])
@pytest.mark.parametrize("order", ["forward", "reverse", "random"])
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_ptx_function(check: Callable[[Device], None], order: str, capability: int) -> None:
    check(emulated(order=order, capability=capability))
