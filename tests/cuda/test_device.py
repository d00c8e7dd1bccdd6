"""The contract of a device, on the emulator; and what every launch refuses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from device_contract import CHECKS, EXAMPLE

from gguf_run.cuda.device import Device
from gguf_run.cuda.signature import Kind, parse_signatures
from gguf_run.errors import DeviceError


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_device_contract(device: Device, check: Callable[[Device], None]) -> None:
    check(device)


@pytest.mark.parametrize(
    ("position", "argument", "message"),
    [
        (0, 2, "axpy: parameter a takes a float of 4 bytes, not 2"),
        (0, "2", "axpy: parameter a takes a float"),
        (0, 1e39, "axpy: 1e.39 does not fit parameter a"),
        (1, 0, "axpy: parameter x takes a Buffer"),
        (1, np.zeros(4, np.float32), "axpy: parameter x takes a Buffer"),
        (3, 1.0, "axpy: parameter n takes an int of 4 bytes"),
        (3, 2**31, "axpy: 2147483648 does not fit parameter n"),
    ],
)
def test_wrong_argument_names_the_parameter(
    device: Device, position: int, argument: Any, message: str
) -> None:
    kernel = device.module(EXAMPLE)["axpy"]
    buffer = device.alloc(16)
    arguments: list[Any] = [2.0, buffer, buffer, 4]
    arguments[position] = argument
    with pytest.raises(DeviceError, match=message):
        device.launch(kernel, 1, 32, arguments)


def test_missing_argument_lists_the_parameters(device: Device) -> None:
    with pytest.raises(DeviceError, match=r"axpy takes 4 arguments \(a, x, y, n\), 1 were given"):
        device.launch(device.module(EXAMPLE)["axpy"], 1, 32, [1.0])


def test_struct_of_wrong_size_is_refused(device: Device) -> None:
    kernel = device.module(EXAMPLE)["widths"]
    with pytest.raises(DeviceError, match="parameter line takes bytes of 8 bytes, not 12 bytes"):
        device.launch(kernel, 1, 1, [1, 1, 1, 1.0, 1.0, bytes(12), True, None])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"grid": 0}, "a grid is one to three sizes"),
        ({"grid": (1, 65536)}, "a grid has at most"),
        ({"block": 1025}, "at most 1024 threads"),
        ({"block": (1, 1, 65)}, "at most 1024 threads, 64 of them along z"),
        ({"block": (1, 1, 1, 1)}, "a block is one to three sizes"),
        ({"shared": 1 << 20}, "bytes of shared memory"),
        ({"grid": 3, "cluster": 2}, "no multiple of the cluster"),
    ],
)
def test_impossible_launch_is_refused(
    device: Device, options: dict[str, Any], message: str
) -> None:
    kernel = device.module(EXAMPLE)["reverse"]
    buffer = device.alloc(256)
    with pytest.raises(DeviceError, match=message):
        device.launch(kernel, **{"grid": 1, "block": 32, **options}, arguments=[buffer, buffer])


def test_kernel_that_the_source_lacks_is_named(device: Device) -> None:
    with pytest.raises(DeviceError, match="no_such"):
        device.module(replace(EXAMPLE, names=("no_such",)))


def test_signatures_are_read_from_the_source() -> None:
    text = """
    // __global__ void commented(int n)
    template <int N, class T>
    __global__ void __launch_bounds__(N * (2 + 1), 2)
        first(const T* __restrict__ x, unsigned  int n, float const f) { }
    extern "C" __global__ __launch_bounds__(32) void second(
        const unsigned char *const *names, /* a comment, */
        const __grid_constant__ Shape<1, 2> shape) {}
    """
    signatures = parse_signatures(text)
    kinds = {k: [(p.name, p.kind, p.size) for p in v] for k, v in signatures.items()}
    assert kinds == {
        "first": [("x", Kind.POINTER, 8), ("n", Kind.UINT, 4), ("f", Kind.FLOAT, 4)],
        "second": [("names", Kind.POINTER, 8), ("shape", Kind.STRUCT, 0)],
    }


@pytest.mark.parametrize("parameter", ["int& n", "int n[4]", "int n = 3", "int"])
def test_parameter_that_no_launch_can_fill_is_refused(parameter: str) -> None:
    with pytest.raises(DeviceError, match="k: a"):
        parse_signatures(f"__global__ void k({parameter}) {{}}")
