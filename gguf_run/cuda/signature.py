"""The parameters of a kernel, read from its source, and the packing of arguments by them.

A CUDA launch takes untyped pointers to values: an argument of the wrong width is not refused but
read as something else. So every launch packs its arguments by the widths that the kernel declares.
"""

from __future__ import annotations

import ctypes
import functools
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

import numpy as np

from gguf_run.cuda.buffer import Buffer
from gguf_run.cuda.tensor_map import TensorMap
from gguf_run.errors import DeviceError


class Kind(Enum):
    """What a kernel parameter holds."""

    POINTER = "a Buffer (or None)"
    INT = "an int"
    UINT = "a non-negative int"
    FLOAT = "a float"
    STRUCT = "bytes"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a kernel; `size` in bytes, 0 for a struct whose size isn't known yet."""

    name: str
    kind: Kind
    size: int


_SCALARS: Mapping[str, tuple[Kind, int]] = {
    "bool": (Kind.UINT, 1),
    "char": (Kind.INT, 1),
    "signed char": (Kind.INT, 1),
    "unsigned char": (Kind.UINT, 1),
    "short": (Kind.INT, 2),
    "unsigned short": (Kind.UINT, 2),
    "int": (Kind.INT, 4),
    "unsigned": (Kind.UINT, 4),
    "unsigned int": (Kind.UINT, 4),
    "long long": (Kind.INT, 8),
    "unsigned long long": (Kind.UINT, 8),
    "size_t": (Kind.UINT, 8),
    "int8_t": (Kind.INT, 1),
    "uint8_t": (Kind.UINT, 1),
    "int16_t": (Kind.INT, 2),
    "uint16_t": (Kind.UINT, 2),
    "int32_t": (Kind.INT, 4),
    "uint32_t": (Kind.UINT, 4),
    "int64_t": (Kind.INT, 8),
    "uint64_t": (Kind.UINT, 8),
    "half": (Kind.FLOAT, 2),
    "__half": (Kind.FLOAT, 2),
    "float": (Kind.FLOAT, 4),
    "double": (Kind.FLOAT, 8),
}
_FORMATS: Mapping[tuple[Kind, int], str] = {
    (Kind.POINTER, 8): "Q",
    **{(Kind.INT, size): code for size, code in ((1, "b"), (2, "h"), (4, "i"), (8, "q"))},
    **{(Kind.UINT, size): code for size, code in ((1, "B"), (2, "H"), (4, "I"), (8, "Q"))},
    **{(Kind.FLOAT, size): code for size, code in ((2, "e"), (4, "f"), (8, "d"))},
}
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.S)
_QUALIFIERS = re.compile(r"\b(?:const|volatile|__restrict__|__grid_constant__)\b")
_HEAD = re.compile(r"\s*void\s+(\w+)\s*\(")


Signatures = Mapping[str, tuple[Parameter, ...]]
"""The parameters of functions by their names."""


def parse_signatures(text: str) -> Signatures:
    """The parameters of every `__global__` function of a source text, by function name.

    Understood: `extern "C" __global__ void name(...)`, `template <...> __global__ void name(...)`,
    with `__launch_bounds__(...)` before or after `void`. Parameters are pointers, scalars of a
    known name, or structs by value; a reference, an array or a default value raises DeviceError.
    """
    text = _COMMENT.sub(" ", text)
    signatures: dict[str, tuple[Parameter, ...]] = {}
    for match in re.finditer(r"\b__global__\b", text):
        rest = _without_launch_bounds(text[match.end() : match.end() + 4000])
        head = _HEAD.match(rest)
        if head is None:
            raise DeviceError(f"a __global__ function is not understood near {rest[:60]!r}")
        end = _closing(rest, head.end() - 1)
        items = _split(rest[head.end() : end])
        signatures[head[1]] = tuple(_parameter(item, head[1]) for item in items)
    return signatures


def base_name(name: str) -> str:
    """`mul_mat_vec<block_q4_0, 4>` -> `mul_mat_vec`: the function that a name expression
    instantiates.
    """
    return name.partition("<")[0].strip()


def _closing(text: str, start: int) -> int:
    """The index of the parenthesis that closes the one at `start`."""
    depth = 0
    for i in range(start, len(text)):
        depth += (text[i] == "(") - (text[i] == ")")
        if depth == 0:
            return i
    raise DeviceError(f"a parenthesis is never closed near {text[start : start + 60]!r}")


def _without_launch_bounds(text: str) -> str:
    found = re.search(r"__launch_bounds__\s*\(", text[:400])
    if found is None or re.search(r"[{;]", text[: found.start()]):
        return text
    return text[: found.start()] + text[_closing(text, found.end() - 1) + 1 :]


def _split(text: str) -> list[str]:
    """The pieces of a parameter list at its outermost commas."""
    pieces, depth, start = [], 0, 0
    for i, c in enumerate(text):
        depth += (c in "(<[") - (c in ")>]")
        if c == "," and depth == 0:
            pieces.append(text[start:i])
            start = i + 1
    pieces.append(text[start:])
    return [piece.strip() for piece in pieces if piece.strip()]


def _parameter(text: str, kernel: str) -> Parameter:
    plain = " ".join(_QUALIFIERS.sub(" ", text).split())
    if any(c in plain for c in "&[="):
        raise DeviceError(
            f"{kernel}: a reference, array or default value is no parameter: {text!r}"
        )
    found = re.fullmatch(r"(.*?[\s*>])\s*(\w+)", plain)
    if found is None:
        raise DeviceError(f"{kernel}: a parameter without a name: {text!r}")
    type_, name = found[1].strip(), found[2]
    if "*" in type_:
        return Parameter(name, Kind.POINTER, 8)
    kind, size = _SCALARS.get(type_, (Kind.STRUCT, 0))
    return Parameter(name, kind, size)


def confirmed(kernel: str, signatures: Signatures, sizes: Sequence[int]) -> tuple[Parameter, ...]:
    """The parameters of a kernel or instance of one, with the sizes that the compiler gave them.

    Raises DeviceError where the compiler disagrees with the source.
    """
    parameters = signatures.get(base_name(kernel))
    if parameters is None:
        raise DeviceError(f"{kernel}: found no __global__ function of this name in the source")
    if len(parameters) != len(sizes):
        raise DeviceError(
            f"{kernel}: {len(parameters)} parameters in its source, {len(sizes)} in its binary"
        )
    for p, size in zip(parameters, sizes, strict=True):
        if p.kind is not Kind.STRUCT and p.size != size:
            raise DeviceError(
                f"{kernel}: parameter {p.name} was read as {p.size} bytes, it has {size}"
            )
    return tuple(replace(p, size=size) for p, size in zip(parameters, sizes, strict=True))


@dataclass(frozen=True, slots=True)
class PackedArguments:
    """The values of one launch in the layout of `kernelParams`.

    `address` points to an array of pointers, one to each value.
    """

    address: int
    keep: tuple[Any, ...] = field(repr=False)


def pack(
    kernel: str, parameters: tuple[Parameter, ...], arguments: Sequence[Any]
) -> PackedArguments:
    """Arguments packed by the declared widths; raises DeviceError naming kernel and parameter."""
    if len(arguments) != len(parameters):
        names = ", ".join(p.name for p in parameters)
        raise DeviceError(
            f"{kernel} takes {len(parameters)} arguments ({names}), {len(arguments)} were given"
        )
    layout, offsets = _layout(parameters)
    values = [_value(kernel, p, a) for p, a in zip(parameters, arguments, strict=True)]
    try:
        storage = ctypes.create_string_buffer(layout.pack(*values), layout.size + 1)
    except (struct.error, OverflowError) as error:
        raise DeviceError(_misfit(kernel, parameters, values)) from error
    start = ctypes.addressof(storage)
    pointers = (ctypes.c_void_p * (len(values) + 1))(*[start + offset for offset in offsets])
    return PackedArguments(ctypes.addressof(pointers), (storage, pointers, *arguments))


def _value(kernel: str, parameter: Parameter, argument: Any) -> int | float | bytes:
    """The argument as struct packs it; raises DeviceError where it is of another kind."""
    kind = parameter.kind
    if kind is Kind.POINTER:
        if isinstance(argument, Buffer):
            return argument.ptr
        if argument is None:
            return 0
    elif kind is Kind.FLOAT:
        if isinstance(argument, float | np.floating):
            return float(argument)
    elif kind is Kind.STRUCT:
        if isinstance(argument, TensorMap):
            argument = argument.encoded()
        if isinstance(argument, bytes) and len(argument) == parameter.size:
            return argument
    elif isinstance(argument, int | np.integer | np.bool_):
        return int(argument)
    found = f"{len(argument)} bytes" if isinstance(argument, bytes) else repr(argument)
    raise DeviceError(
        f"{kernel}: parameter {parameter.name} takes {kind.value} of {parameter.size} bytes, "
        f"not {found}"
    )


@functools.cache
def _layout(parameters: tuple[Parameter, ...]) -> tuple[struct.Struct, tuple[int, ...]]:
    """The values one behind another, each aligned to 16 bytes, and where each begins."""
    text, offset, offsets = "<", 0, []
    for p in parameters:
        offsets.append(offset)
        padding = -p.size % 16
        text += f"{_format(p)}{padding}x"
        offset += p.size + padding
    return struct.Struct(text), tuple(offsets)


def _format(p: Parameter) -> str:
    return f"{p.size}s" if p.kind is Kind.STRUCT else _FORMATS[p.kind, p.size]


def _misfit(
    kernel: str, parameters: Sequence[Parameter], values: Sequence[int | float | bytes]
) -> str:
    """Which value is too large for its parameter."""
    for p, value in zip(parameters, values, strict=True):
        try:
            struct.pack("<" + _format(p), value)
        except (struct.error, OverflowError):
            return (
                f"{kernel}: {value!r} does not fit parameter {p.name}, "
                f"{p.kind.value} of {p.size} bytes"
            )
    raise AssertionError("every value fits alone")
