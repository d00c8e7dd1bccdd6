"""Every kernel compiles for every supported architecture, without a GPU and without spills."""

from __future__ import annotations

import pytest
from emulated import KERNEL_CACHE

from gguf_run.cuda.cache import FileCache
from gguf_run.cuda.kernel_list import CAPABILITIES, compile_all, format_kernels
from gguf_run.cuda.nvrtc import Nvrtc, find_nvrtc
from gguf_run.errors import DeviceError


@pytest.fixture(scope="module")
def nvrtc() -> Nvrtc:
    try:
        return find_nvrtc()
    except DeviceError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("capability", CAPABILITIES, ids="sm_{}".format)
def test_every_kernel_compiles_without_spills(nvrtc: Nvrtc, capability: int) -> None:
    facts = compile_all(nvrtc, capability, FileCache(KERNEL_CACHE))
    faulty = [f"{f.file} {f.kernel} for {f.arch}: {'; '.join(f.faults)}" for f in facts if f.faults]
    assert not faulty, "\n".join(faulty)
    table = format_kernels(facts)
    assert all(f.kernel in table for f in facts)
