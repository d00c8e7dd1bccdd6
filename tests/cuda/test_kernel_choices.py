"""The kernels that are declared, compiled and checked for an architecture are those that its GPUs
are given: each of them, and no more.
"""

from __future__ import annotations

import pytest
from launches import launches

from gguf_run.cuda.capabilities import SHARED_BYTES
from gguf_run.cuda.decode_loop import ADVANCE
from gguf_run.cuda.kernel_list import CAPABILITIES
from gguf_run.cuda.lowering import MODULES
from gguf_run.cuda.peaks import PEAKS
from gguf_run.cuda.source import KernelSource
from gguf_run.cuda.weights import REPACK

ON_THEIR_OWN = (ADVANCE, PEAKS, REPACK)
"""Modules that no step of a plan launches."""

each_capability = pytest.mark.parametrize("capability", CAPABILITIES, ids="sm_{}".format)


def declared(capability: int) -> set[tuple[KernelSource, str]]:
    return {
        (source, name)
        for source, capabilities in MODULES.items()
        if capability in capabilities and source not in ON_THEIR_OWN
        for name in source.names
    }


@each_capability
def test_what_a_gpu_is_given_was_declared_for_it(capability: int) -> None:
    assert {(c.module, c.kernel) for c in launches(capability)} <= declared(capability)


@each_capability
def test_every_declared_kernel_is_one_that_a_gpu_is_given(capability: int) -> None:
    unused = declared(capability) - {(c.module, c.kernel) for c in launches(capability)}
    assert not sorted(f"{source.path.name} {name}" for source, name in unused)


@each_capability
def test_no_launch_asks_for_more_shared_memory_than_there_is(capability: int) -> None:
    most = SHARED_BYTES[capability]
    assert not {f"{c.kernel}: {c.shared}" for c in launches(capability) if c.shared > most}
