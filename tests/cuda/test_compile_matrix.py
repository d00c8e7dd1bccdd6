"""Every kernel compiles for every supported architecture, without a GPU and without spills."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
from gguf_run.cuda.layout import LAYOUTS
from gguf_run.cuda.nvrtc import Nvrtc, find_nvrtc
from gguf_run.cuda.ops.stream_mul_mat import FLOATS, for_one_shape
from gguf_run.errors import DeviceError
from gguf_run.quants import quant_type


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


ROW_LENGTHS = (1024, 2048, 2560, 4096, 5120, 8192, 9728, 14336, 28672, 29568)
"""Numbers in a row of models' weights."""
K_SPLITS = (1, 2, 4, 8)
TELLING = [
    *product(("Q4_0", "Q8_0", "Q4_K", "BF16"), (2,), (True, False), ((1024, 1), (14336, 4))),
    *product(("Q4_K",), (2,), (True,), ((4096, 1), (8192, 1), (8192, 4), (14336, 8))),
    *product(("Q4_0", "Q4_1", "TQ2_0"), (2,), (True,), ((8192, 2),)),
    *product(("Q4_K", "Q2_K"), (2,), (False,), ((8192, 2), (14336, 1))),
]
"""Type, rows, norm, length and k_split of kernels among which are those that need the most
registers for what they may have."""


@pytest.mark.parametrize("capability", [90, 120], ids="sm_{}".format)
def test_kernels_for_one_shape_compile_without_spills(nvrtc: Nvrtc, capability: int) -> None:
    _check_shapes(nvrtc, capability, TELLING)


@pytest.mark.slow
@pytest.mark.parametrize("capability", [90, 120], ids="sm_{}".format)
@pytest.mark.parametrize("name", [*FLOATS, *LAYOUTS])
def test_kernels_for_all_shapes_of_models_compile_without_spills(
    nvrtc: Nvrtc, capability: int, name: str
) -> None:
    lengths = [n for n in ROW_LENGTHS if n % quant_type(name).block_size == 0]
    _check_shapes(
        nvrtc, capability, product((name,), (1, 2), (True, False), product(lengths, K_SPLITS))
    )


def _check_shapes(
    nvrtc: Nvrtc, capability: int, kernels: Iterable[tuple[str, int, bool, tuple[int, int]]]
) -> None:
    sources = [for_one_shape(*kernel, *shape) for *kernel, shape in kernels]
    facts = compiled_facts(nvrtc, nvrtc.arch(capability), sources, FileCache(KERNEL_CACHE))
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
