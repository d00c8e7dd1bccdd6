"""Every kernel compiles for every supported architecture, without a GPU and without spills."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import prod

import pytest
from emulated import KERNEL_CACHE
from launches import launches

from gguf_run.cuda.cache import FileCache
from gguf_run.cuda.capabilities import SHARED_BYTES
from gguf_run.cuda.kernel_list import (
    CAPABILITIES,
    KernelFacts,
    compile_all,
    compiled_facts,
    format_kernels,
)
from gguf_run.cuda.nvrtc import Nvrtc, find_nvrtc
from gguf_run.cuda.ops.stream_mul_mat import for_one_shape
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
    _check_launches(capability, facts)


@pytest.mark.parametrize("capability", [90, 120], ids="sm_{}".format)
def test_kernels_for_one_shape_compile_without_spills(nvrtc: Nvrtc, capability: int) -> None:
    shapes = product(("Q4_0", "Q8_0", "Q4_K", "BF16"), (True, False), ((1024, 1), (14336, 4)))
    sources = [for_one_shape(name, 2, norm, *shape) for name, norm, shape in shapes]
    arch = nvrtc.arch(capability)
    facts = compiled_facts(nvrtc, arch, sources, FileCache(KERNEL_CACHE))
    assert len(facts) == len(sources)
    assert not [f"{f.kernel}: {'; '.join(f.faults)}" for f in facts if f.faults]


def _check_launches(capability: int, facts: Sequence[KernelFacts]) -> None:
    """Every launch has a block that its kernel was compiled for, and room for its shared memory."""
    of_kernel = {(f.file, f.kernel): f for f in facts}
    for c in launches(capability):
        found = of_kernel[c.module.path.name, c.kernel]
        n_threads = c.block if isinstance(c.block, int) else prod(c.block)
        assert n_threads <= found.threads, f"{c.kernel}: a block of {n_threads} threads"
        shared = c.shared + found.resources.shared
        assert shared <= SHARED_BYTES[capability], f"{c.kernel}: {shared} bytes of shared memory"
