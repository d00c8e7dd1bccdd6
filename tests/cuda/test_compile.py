"""Kernels compiled with NVRTC, without a GPU: keys, cache, errors, resources."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from device_contract import EXAMPLE, KERNELS

from gguf_run.cuda.cache import FileCache
from gguf_run.cuda.compile import KernelCompiler
from gguf_run.cuda.nvrtc import Nvrtc, find_nvrtc
from gguf_run.cuda.resources import kernel_resources
from gguf_run.cuda.source import KernelSource, flatten
from gguf_run.errors import DeviceError

CAPABILITIES = (75, 80, 86, 89, 90, 100, 120)


@pytest.fixture(scope="module")
def nvrtc() -> Nvrtc:
    try:
        return find_nvrtc()
    except DeviceError as error:
        pytest.skip(str(error))


@pytest.fixture
def compiler(nvrtc: Nvrtc, tmp_path: Path) -> KernelCompiler:
    return KernelCompiler(nvrtc, FileCache(tmp_path / "cache"))


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_ptx_functions_compile_for_every_architecture_without_a_stack(
    nvrtc: Nvrtc, compiler: KernelCompiler, capability: int
) -> None:
    names = ["mma_16<false>", "mma_16<true>", "mma_ldmatrix", "mma_s8", "staged", "reductions"]
    names += ["grid_barrier"] + (["pipeline"] if capability >= 90 else [])
    source = KernelSource(KERNELS / "tensor.cu", tuple(names))
    (cubin,) = compiler.cubins([source], nvrtc.arch(capability))
    resources = kernel_resources(cubin.image)
    assert set(cubin.symbols) == set(names)
    assert all(resources[symbol].stack == 0 for symbol in cubin.symbols.values())


def test_resources_are_those_of_the_source(nvrtc: Nvrtc, compiler: KernelCompiler) -> None:
    for capability in CAPABILITIES:
        (cubin,) = compiler.cubins([EXAMPLE], nvrtc.arch(capability))
        resources = {k: kernel_resources(cubin.image)[s] for k, s in cubin.symbols.items()}
        assert resources["widths"].parameter_sizes == (1, 2, 8, 8, 2, 8, 1, 8)
        assert resources["row_sum<4>"].shared == 16
        assert resources["row_sum<4>"].max_threads == 128
        assert resources["reverse"].shared == 0
        assert all(1 < r.registers <= 64 and r.code_bytes > 0 for r in resources.values())


def test_local_arrays_show_as_stack(nvrtc: Nvrtc, compiler: KernelCompiler, tmp_path: Path) -> None:
    path = tmp_path / "k.cu"
    path.write_text(
        'extern "C" __global__ void k(int* y, int n) {\n'
        "  int a[64] = {}; for (int i = 0; i < n; i++) a[y[i]] += i; y[0] = a[n]; }\n"
    )
    (cubin,) = compiler.cubins([KernelSource(path, ("k",))], "sm_80")
    assert kernel_resources(cubin.image)["k"].stack >= 256


def test_second_compilation_takes_all_from_the_cache(compiler: KernelCompiler) -> None:
    told: list[tuple[str, int, int]] = []
    sources = [EXAMPLE, replace(EXAMPLE, names=("axpy",))]
    first = compiler.cubins(sources, "sm_80", lambda *what: told.append(what))
    assert told == [("example.cu", 1, 2), ("example.cu", 2, 2)]
    assert compiler.cubins(sources, "sm_80", lambda *what: told.append(what)) == first
    assert len(told) == 2


def test_edit_of_a_header_compiles_again(compiler: KernelCompiler, tmp_path: Path) -> None:
    source = KernelSource(tmp_path / "k.cu", ("k",))
    source.path.write_text('#include "h.cuh"\nextern "C" __global__ void k(int* y) { y[0] = V; }\n')
    images = []
    for value in (1, 2, 1):
        (tmp_path / "h.cuh").write_text(f"#pragma once\n#define V {value}\n")
        images.append(compiler.cubins([source], "sm_80")[0].image)
    assert images[0] == images[2] != images[1]


def test_defines_and_architecture_are_part_of_the_key(
    compiler: KernelCompiler, tmp_path: Path
) -> None:
    path = tmp_path / "k.cu"
    path.write_text('extern "C" __global__ void k(int* y) { y[0] = V + __CUDA_ARCH__; }\n')
    images = {
        compiler.cubins([KernelSource(path, ("k",), (("V", v),))], arch)[0].image
        for v in (1, 2)
        for arch in ("sm_80", "sm_86")
    }
    assert len(images) == 4


def test_compile_error_names_file_line_and_architecture(
    compiler: KernelCompiler, tmp_path: Path
) -> None:
    (tmp_path / "h.cuh").write_text("#pragma once\n\n\n")
    path = tmp_path / "typo.cu"
    path.write_text('#include "h.cuh"\nextern "C" __global__ void k() { int x = y; }\n')
    with pytest.raises(
        DeviceError, match=r'typo.cu can.t be compiled for sm_80:\ntypo.cu\(2\).*"y"'
    ):
        compiler.cubins([KernelSource(path, ("k",))], "sm_80")


def test_missing_kernel_is_named(compiler: KernelCompiler) -> None:
    with pytest.raises(DeviceError, match="no_such"):
        compiler.cubins([replace(EXAMPLE, names=("no_such",))], "sm_80")


def test_unknown_architecture_says_what_is_known(nvrtc: Nvrtc) -> None:
    with pytest.raises(DeviceError, match=r"can't compile for sm_999, only for .*sm_80"):
        nvrtc.arch(999)


@pytest.mark.parametrize("capability", [52, 70, 72])
def test_an_old_gpu_is_told_the_least(nvrtc: Nvrtc, capability: int) -> None:
    with pytest.raises(DeviceError, match=rf"7\.5 or later .*sm_75.*found sm_{capability}"):
        nvrtc.arch(capability)


def test_a_gpu_newer_than_the_compiler_gets_the_code_of_its_own_kind(
    nvrtc: Nvrtc, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nvrtc, "version", (12, 8))
    monkeypatch.setattr(nvrtc, "capabilities", [70, 75, 80, 86, 87, 90, 100, 101, 120])
    archs = {80: "sm_80", 89: "sm_86", 90: "sm_90a", 103: "sm_100", 121: "sm_120"}
    assert {c: nvrtc.arch(c) for c in archs} == archs
    # No machine code of another GPU runs on a system on a chip.
    with pytest.raises(DeviceError, match=r"12\.8 can't compile for sm_110, only for sm_75, sm_80"):
        nvrtc.arch(110)


def test_missing_library_says_what_to_install() -> None:
    with pytest.raises(DeviceError, match=r"NVRTC .* for CUDA 1 or earlier .*pip install"):
        find_nvrtc(max_major=1)


@pytest.mark.parametrize("damage", [b"", b"\x7fELF", b"\x7fELF\x02" + bytes(100)])
def test_damaged_machine_code_is_an_error(damage: bytes) -> None:
    with pytest.raises(DeviceError, match="not a cubin"):
        kernel_resources(damage)


def test_includes_are_taken_in_once_and_lines_stay_true(tmp_path: Path) -> None:
    (tmp_path / "a.cuh").write_text("#pragma once\nA\n")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.cuh").write_text('#include "../a.cuh"\nB\n')
    path = tmp_path / "k.cu"
    path.write_text('first\n#include "a.cuh"\n#include "sub/b.cuh"\n#include <cuda_fp16.h>\nlast\n')
    lines = [line for line in flatten(path).splitlines() if line]
    assert lines == [
        *('#line 1 "k.cu"', "first", '#line 1 "a.cuh"', "A", '#line 3 "k.cu"'),
        *('#line 1 "b.cuh"', '#line 2 "b.cuh"', "B", '#line 4 "k.cu"'),
        *("#include <cuda_fp16.h>", "last"),
    ]


def test_missing_header_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "k.cu").write_text('#include "none.cuh"\n')
    with pytest.raises(DeviceError, match=r"none\.cuh"):
        flatten(tmp_path / "k.cu")
