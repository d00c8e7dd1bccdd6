"""`gguf-run kernels`: what each kernel takes of a GPU, without one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gguf_run.commands.kernels import kernels
from gguf_run.cuda import kernel_list
from gguf_run.cuda.kernel_list import KernelFacts, format_kernels
from gguf_run.cuda.lowering import MODULES
from gguf_run.cuda.nvrtc import find_nvrtc
from gguf_run.cuda.resources import Resources
from gguf_run.errors import DeviceError


def facts(kernel: str, arch: str, registers: int, stack: int, max_threads: int) -> KernelFacts:
    resources = Resources(registers, 48, stack, 1000, max_threads, (8, 4))
    return KernelFacts("norm.cu", kernel, arch, resources)


@pytest.mark.parametrize(
    ("registers", "stack", "max_threads", "faults"),
    [
        (64, 0, 1024, []),
        (65, 0, 1024, ["65 registers don't fit 1024 threads"]),
        (64, 0, 0, []),
        (65, 0, 0, ["65 registers don't fit 1024 threads"]),
        (255, 0, 256, []),
        (32, 16, 256, ["16 bytes of local memory a thread"]),
    ],
)
def test_spills_and_too_many_registers_are_faults(
    registers: int, stack: int, max_threads: int, faults: list[str]
) -> None:
    assert facts("k", "sm_75", registers, stack, max_threads).faults == faults


def test_the_table_has_a_column_for_each_architecture() -> None:
    table = format_kernels(
        [
            facts("a<1>", "sm_75", 30, 0, 128),
            facts("b", "sm_75", 31, 0, 0),
            facts("a<1>", "sm_90a", 40, 8, 128),
        ]
    ).splitlines()
    assert table[0].split() == ["file", "kernel", "threads", "sm_75", "sm_90a"]
    assert table[1].split() == ["norm.cu", "a<1>", "128", *["30,", "48,", "0", "40,", "48,", "8"]]
    assert table[2].split() == ["norm.cu", "b", "-", *["31,", "48,", "0"]]


@pytest.fixture
def few_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two files of kernels stand for all; compiled kernels go to a folder of their own."""
    try:
        find_nvrtc()
    except DeviceError as error:
        pytest.skip(str(error))
    few = {m: c for m, c in MODULES.items() if m.path.name in ("cast.cu", "mul_mat_mma.cu")}
    products = [m for m in few if m.path.name == "mul_mat_mma.cu"][3:]
    monkeypatch.setattr(kernel_list, "MODULES", {m: few[m] for m in few if m not in products})
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def listed(*names: str) -> Result:
    options = [part for name in names for part in ("--arch", name)]
    return CliRunner().invoke(kernels, options, catch_exceptions=False)


@pytest.mark.usefixtures("few_modules")
def test_the_command_lists_kernels_for_the_architectures_named() -> None:
    result = listed("90", "sm_75")
    assert result.exit_code == 0
    header, *rows = result.stdout.splitlines()
    assert header.split() == ["file", "kernel", "threads", "sm_90a", "sm_75"]
    assert any("cast_f16<true>" in row for row in rows)
    assert listed("sm_90a").stdout.splitlines()[0].split()[3:] == ["sm_90a"]


@pytest.mark.usefixtures("few_modules")
def test_kernels_that_an_architecture_is_not_given_leave_its_column_empty() -> None:
    rows = [r for r in listed("sm_75", "sm_80").stdout.splitlines() if "128, 128, 32, 64" in r]
    assert rows
    assert all(len(re.split(r"  +", row)) == 4 for row in rows)


@pytest.mark.usefixtures("few_modules")
@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("sm_70", r"compute capability 7\.5 or later .*found sm_70"),
        ("sm_999", r"can't compile for sm_999, only for sm_75.*pip install"),
    ],
)
def test_the_command_says_which_architectures_there_are(name: str, problem: str) -> None:
    with pytest.raises(DeviceError, match=problem):
        listed(name)


def test_the_command_refuses_what_is_no_architecture() -> None:
    result = CliRunner().invoke(kernels, ["--arch", "hopper"])
    assert result.exit_code == 2
    assert "expected names such as sm_90, found hopper" in result.output
