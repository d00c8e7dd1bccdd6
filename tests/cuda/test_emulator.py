"""What the emulator finds that a GPU lets pass, and how it says so."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from device_contract import EXAMPLE, KERNELS, put
from emulated import KERNEL_CACHE, emulated

from gguf_run.cuda.device import Device, KernelSource, Module
from gguf_run.cuda.emulator import build
from gguf_run.errors import DeviceError

BROKEN = KernelSource(
    KERNELS / "broken.cu",
    (
        *("no_barrier", "static_shared_before_write", "divergent_collectives", "half_a_barrier"),
        *("mask_without_self", "misaligned", "misaligned_vector", "index_out_of_array"),
        *("read_at", "write_at", "shared_at", "divide", "trap", "recursion", "unwaited_copy"),
        *("unwaited_bulk", "wrong_byte_count", "misaligned_bulk", "barrier_before_init"),
        *("half_a_warp", "no_pdl_wait", "reads_before_pdl_wait", "copies_before_pdl_wait"),
    ),
)


@pytest.fixture
def broken(device: Device) -> Module:
    return device.module(BROKEN)


def test_missing_barrier_gives_wrong_results(device: Device, broken: Module) -> None:
    x, y = put(device, np.ones(64, np.float32)), device.alloc(256)
    device.launch(broken["no_barrier"], 1, 64, [x, y], shared=256)
    assert np.isnan(device.download(y, np.float32, (64,))).sum() >= 16


def test_shared_memory_is_poisoned_for_every_block(device: Device, broken: Module) -> None:
    y = device.alloc(128)
    device.launch(broken["static_shared_before_write"], 3, 32, [y])
    assert np.isnan(device.download(y, np.float32, (32,))).all()


def test_new_memory_is_poisoned(device: Device) -> None:
    assert np.isnan(device.download(device.alloc(400), np.float32, (100,))).all()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("divergent_collectives", "lanes of one mask met in different collectives"),
        ("half_a_barrier", "deadlock: of 32 live threads 16 wait at barriers, 16 in warp coll"),
        ("half_a_warp", "all 32 lanes of a warp must take part"),
        ("mask_without_self", "a lane is not named in its own mask"),
        ("no_pdl_wait", "launched with pdl=True, but no thread called pdl_wait"),
    ],
)
def test_wrong_meeting_of_threads_is_an_error(
    device: Device, broken: Module, name: str, message: str
) -> None:
    y = device.alloc(128)
    with pytest.raises(DeviceError, match=rf"{name} grid=\(1, 1, 1\).*: {message}.*\[block 0"):
        device.launch(broken[name], 1, 32, [y], pdl=name == "no_pdl_wait")


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("misaligned", ["buffer", "buffer"], r"broken.cu:\d+: misaligned access: .* multiple of 4"),
        ("misaligned_vector", ["buffer", "buffer"], r"broken.cu:\d+: misaligned .* multiple of 16"),
        ("index_out_of_array", ["buffer", 4], r"broken.cu:\d+: index out of bounds"),
        (
            "read_at",
            ["buffer", "buffer", 64],
            "illegal access at byte 256 of a buffer of 256 bytes",
        ),
        ("read_at", ["buffer", None, 0], "null pointer"),
        ("read_at", ["buffer", "buffer", 2**30], "illegal access far from every buffer"),
        ("write_at", ["buffer", 64], "illegal access at byte 256 of a buffer of 256 bytes"),
        ("divide", ["buffer", 0], "integer division by zero"),
        ("trap", [], r"reached __trap\(\)"),
        ("recursion", ["buffer", 1000], "a thread's stack overflows"),
        ("unwaited_bulk", ["buffer", "y"], "ended while a bulk copy was under way"),
        ("wrong_byte_count", ["buffer", "y"], "deadlock: .* 1 for mbarriers"),
        ("misaligned_bulk", ["buffer"], "a bulk copy of 64 bytes: .* multiples of 16"),
        ("barrier_before_init", [], "an mbarrier is used before its init"),
    ],
)
def test_illegal_access_is_an_error_and_the_process_goes_on(
    device: Device, broken: Module, name: str, arguments: list[Any], message: str
) -> None:
    buffer = put(device, np.ones(64, np.float32))
    named = {"buffer": buffer, "y": device.alloc(256)}
    arguments = [named.get(a, a) for a in arguments]
    for _ in range(2):
        with pytest.raises(DeviceError, match=message):
            device.launch(broken[name], 1, 1, arguments)
    device.launch(device.module(EXAMPLE)["axpy"], 1, 64, [1.0, buffer, buffer, 64])
    assert (device.download(buffer, np.float32, (64,)) == 2).all()


@pytest.mark.parametrize("index", [32, 40])
def test_access_outside_dynamic_shared_memory_is_an_error(
    device: Device, broken: Module, index: int
) -> None:
    y = device.alloc(4)
    device.launch(broken["shared_at"], 1, 1, [y, 31], shared=128)
    with pytest.raises(DeviceError, match=f"byte {4 * index} of 128 bytes of dynamic shared"):
        device.launch(broken["shared_at"], 1, 1, [y, index], shared=128)


@pytest.mark.parametrize(("index", "where"), [(-1, "ahead of"), (3, "behind")])
def test_write_beside_a_buffer_is_found(
    device: Device, broken: Module, index: int, where: str
) -> None:
    buffer = device.alloc(12)
    device.launch(broken["write_at"], 1, 1, [buffer, index])
    with pytest.raises(DeviceError, match=f"a kernel wrote {where} a buffer of 12 bytes"):
        device.synchronize()
    device.synchronize()


def test_value_of_an_unwaited_copy_is_poison(device: Device, broken: Module) -> None:
    x, y = put(device, np.ones(32, np.float32)), device.alloc(128)
    device.launch(broken["unwaited_copy"], 1, 32, [x, y])
    assert np.isnan(device.download(y, np.float32, (32,))).all()


def test_memory_has_the_limit_that_was_set() -> None:
    device = emulated(memory=1000)
    kept = device.alloc(600)
    with pytest.raises(DeviceError, match="401 bytes asked for, 400 of 1000 free"):
        device.alloc(401)
    assert device.memory_free == 1000 - kept.n_bytes


def test_waiting_is_refused_in_a_capture(device: Device) -> None:
    buffer = device.alloc(4)
    with device.capture(), pytest.raises(DeviceError, match="while a graph is recorded"):
        device.download(buffer, np.float32, (1,))
    assert device.download(buffer, np.uint8, (4,)).tolist() == [255] * 4


def test_missing_edge_of_a_graph_gives_wrong_results() -> None:
    results = {}
    for order in ("forward", "reverse"):
        device = emulated(order=order)
        kernel, side = device.module(EXAMPLE)["axpy"], device.stream()
        x, y = (put(device, np.ones(4, np.float32)) for _ in range(2))
        with device.capture() as graph:
            device.wait(device.record(), side)
            device.launch(kernel, 1, 32, [1.0, x, x, 4], stream=side)
            device.launch(kernel, 1, 32, [1.0, x, y, 4])  # reads x, but waits for nobody
            device.wait(device.record(side))
        graph.replay()
        results[order] = device.download(y, np.float32, (4,)).tolist()
    assert results == {"forward": [3, 3, 3, 3], "reverse": [2, 2, 2, 2]}


@pytest.mark.parametrize("name", ["reads_before_pdl_wait", "copies_before_pdl_wait"])
def test_dependent_launch_that_reads_too_early_gives_wrong_results(name: str) -> None:
    results = {}
    for order in ("forward", "reverse"):
        device = emulated(order=order)
        kernel = device.module(BROKEN)[name]
        a, b = (put(device, np.zeros(32, np.float32)) for _ in range(2))
        with device.capture() as graph:
            for source, target in ((a, b), (b, a), (a, b)):
                device.launch(kernel, 1, 32, [source, target], pdl=True)
        graph.replay()
        results[order] = device.download(b, np.float32, (32,)).max()
    assert results["forward"] == 3
    assert results["reverse"] < 3


def test_dependent_launches_of_a_graph_start_early_and_wait(device: Device) -> None:
    kernel = device.module(KernelSource(KERNELS / "tensor.cu", ("dependent",)))["dependent"]
    x = np.arange(512, dtype=np.float32)
    a, b = put(device, x), put(device, x)
    with device.capture() as graph:
        for source, target in ((a, b), (b, a), (a, b), (b, a)):
            device.launch(kernel, 4, 128, [source, target, 512], pdl=True)
    graph.replay()
    assert np.array_equal(device.download(a, np.float32, (512,)), x + 4)


def test_failure_of_a_launch_ends_the_replay(device: Device, broken: Module) -> None:
    y = device.alloc(128)
    kernels = device.module(KernelSource(KERNELS / "tensor.cu", ("dependent",)))
    with device.capture() as graph:
        device.launch(kernels["dependent"], 1, 32, [y, y, 32], pdl=True)
        device.launch(broken["no_pdl_wait"], 1, 32, [y], pdl=True)
        device.launch(kernels["dependent"], 1, 32, [y, y, 32], pdl=True)
    for _ in range(2):
        with pytest.raises(DeviceError, match="no_pdl_wait"):
            graph.replay()


def test_work_in_a_stream_outside_the_capture_is_refused() -> None:
    device = emulated()
    stream, buffer = device.stream(), device.alloc(4)
    with device.capture(), pytest.raises(DeviceError, match="waits for no event of the captured"):
        device.fill(buffer, 0, stream)


def test_fault_outside_of_kernels_is_not_caught() -> None:
    code = (
        "import ctypes, pathlib, sys\n"
        "from gguf_run.cuda.emulator import EmulatedDevice\n"
        "EmulatedDevice(pathlib.Path(sys.argv[1]))\n"
        "ctypes.string_at(8)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(KERNEL_CACHE)], check=False)
    assert done.returncode == -11


def test_blocks_run_side_by_side_with_the_same_result() -> None:
    x = np.arange(6400, dtype=np.float32)
    for workers in (1, 3):
        device = emulated(workers=workers)
        y = device.alloc(256)
        kernel = device.module(EXAMPLE)["row_sum<4>"]
        device.launch(kernel, 64, 128, [put(device, x), y, 100])
        assert np.array_equal(
            device.download(y, np.float32, (64,)), x.reshape(64, 100).sum(1, dtype=np.float32)
        )


def test_missing_compiler_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build._environment.cache_clear()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DeviceError, match=r"apt install g\+\+"):
        emulated().module(EXAMPLE)
    monkeypatch.undo()
    assert shutil.which("g++")


def test_old_compiler_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = tmp_path / "g++"
    old.write_text("#!/bin/sh\necho 9.4.0\n")
    old.chmod(0o755)
    build._environment.cache_clear()
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(DeviceError, match=r"needs g\+\+ 12 or later, found 9\.4\.0"):
        emulated()


def test_compile_error_names_file_and_line(tmp_path: Path, device: Device) -> None:
    path = tmp_path / "typo.cu"
    (tmp_path / "ok.cuh").write_text("#pragma once\n\n")
    path.write_text(
        '#include "ok.cuh"\n#include "ok.cuh"\nextern "C" __global__ void k() { int x = y; }\n'
    )
    with pytest.raises(DeviceError, match=r"typo.cu:3:\d+: error: .*y"):
        device.module(KernelSource(path, ("k",)))
