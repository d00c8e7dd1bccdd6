"""Kernels compiled with NVRTC, without a GPU: keys, cache, errors, resources."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest
from device_contract import EXAMPLE, KERNELS

from gguf_run.cuda.cache import FileCache, Wanted
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
    assert nvrtc.arch(90) == "sm_90a"
    assert nvrtc.arch(86) == "sm_86"


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


def _read(cache: FileCache, name: str, content: bytes) -> bytes:
    (found,) = cache.get([Wanted(name, name, lambda: content)])
    return found


def test_damaged_file_of_the_cache_is_made_again(tmp_path: Path) -> None:
    cache = FileCache(tmp_path)
    assert _read(cache, "f", b"content") == b"content"
    (tmp_path / "f").write_bytes(b"content, damaged")
    with pytest.warns(RuntimeWarning, match="f is damaged"):
        assert _read(cache, "f", b"again") == b"again"
    assert _read(cache, "f", b"unused") == b"again"


def test_cache_that_cannot_be_written_warns_once_and_works(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = FileCache(tmp_path / "file" / "cache")
    with pytest.warns(RuntimeWarning, match="compiled kernels can't be kept"):
        assert _read(cache, "f", b"1") == b"1"
    assert _read(cache, "g", b"2") == b"2"
    assert _read(cache, "f", b"unused") == b"1"


def test_writers_at_once_leave_one_whole_file(tmp_path: Path) -> None:
    contents = [bytes([i]) * 100_000 for i in range(8)]
    start = threading.Barrier(8)

    def write(content: bytes) -> None:
        start.wait()
        _read(FileCache(tmp_path), "f", content)

    threads = [threading.Thread(target=write, args=(c,)) for c in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert _read(FileCache(tmp_path), "f", b"unused") in contents
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def test_failure_to_make_a_file_leaves_none(tmp_path: Path) -> None:
    def fail() -> bytes:
        raise DeviceError("does not compile")

    cache = FileCache(tmp_path)
    with pytest.raises(DeviceError, match="does not compile"):
        cache.get([Wanted("good", "good", lambda: b"1"), Wanted("bad", "bad", fail)])
    assert not (tmp_path / "bad").exists()
