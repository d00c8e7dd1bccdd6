"""`gguf-run kernels`: what each kernel takes of a GPU, without one."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from gguf_run.commands.kernels import kernels
from gguf_run.cuda.kernel_list import KernelFacts, format_kernels
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


@pytest.mark.parametrize("name", ["90", "sm_75"])
def test_the_command_lists_kernels(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        find_nvrtc()
    except DeviceError as error:
        pytest.skip(str(error))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    result = CliRunner().invoke(kernels, ["--arch", name], catch_exceptions=False)
    assert result.exit_code == 0
    assert "rms_norm_f32" in result.stdout


def test_the_command_refuses_what_is_no_architecture() -> None:
    result = CliRunner().invoke(kernels, ["--arch", "hopper"])
    assert result.exit_code == 2
    assert "expected names such as sm_90, found hopper" in result.output
