"""Nothing is missing: each op has its reference, its kernels and its cases, each type its rows."""

from __future__ import annotations

import pytest
from case_data import WEIGHT_TYPES
from cases import Case, ops_of
from emulated import emulated
from op_cases import ALL_CASES, FAMILIES

import gguf_run.cuda.ops  # noqa: F401  (registers the wrappers)
from gguf_run.cuda.backend import CudaBackend
from gguf_run.cuda.lowering import LOWERINGS, MODULES
from gguf_run.fusion import FUSIONS
from gguf_run.graph import OPS
from gguf_run.reference import REFERENCE

FUSED = {fusion.name for fusion in FUSIONS}


def weight_types(op: str) -> set[str]:
    """Types of the first source of every `op` in the cases."""
    graphs = (case.graph() for case in ALL_CASES)
    return {t.srcs[0].dtype.name for g in graphs for t in g.tensors if t.op == op}


def test_every_op_has_a_reference() -> None:
    assert set(OPS) == set(REFERENCE)


def test_every_op_has_its_kernels() -> None:
    assert set(OPS) <= set(LOWERINGS) <= set(OPS) | FUSED


def test_every_op_has_cases() -> None:
    missing = set(OPS).difference(*(ops_of(case) for case in ALL_CASES))
    assert not missing


def test_every_fusion_with_kernels_has_cases() -> None:
    backend = CudaBackend(None, emulated())  # type: ignore[arg-type]  # plans read no file
    planned = {step.op for case in ALL_CASES for step in backend.plan(case.graph()).steps}
    assert FUSED & set(LOWERINGS) <= planned


@pytest.mark.parametrize("op", ["mul_mat", "get_rows"])
def test_every_type_of_weights_has_cases(op: str) -> None:
    assert not set(WEIGHT_TYPES) - weight_types(op)


def test_names_of_cases_are_unique() -> None:
    names = [case.name for case in ALL_CASES]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_cases(family: str) -> None:
    assert all(isinstance(case, Case) and case.graph().outputs for case in FAMILIES[family])
    assert FAMILIES[family]


def test_no_kernel_is_declared_twice() -> None:
    declared = [
        (m.path.name, name, m.defines, capability)
        for m, capabilities in MODULES.items()
        for name in m.names
        for capability in capabilities
    ]
    assert len(set(declared)) == len(declared)
