"""What a kernel takes of the GPU, read from its machine code: no GPU, driver or toolkit needed.

A cubin is an ELF file; NVIDIA's facts stand in its `.nv.info` sections as records
(format u8, attribute u8, size or value u16, payload). The attribute numbers are those that
`cuobjdump -elf` names.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from gguf_run.errors import DeviceError

_MAX_THREADS, _FRAME_SIZE, _PARAMETER, _REGISTERS = 0x05, 0x11, 0x17, 0x2F
_SIZED = 0x04  # the format of a record with a payload
_RESERVED = 1024  # bytes of shared memory a block that the system takes from sm_90 on


@dataclass(frozen=True, slots=True)
class Resources:
    """Of one kernel: registers a thread, static shared bytes a block, stack bytes a thread.

    `stack` holds local arrays and spilled registers: a kernel that keeps all in registers has 0.
    `max_threads` is the block size of its launch bounds (0: none), `parameter_sizes` in bytes.
    """

    registers: int
    shared: int
    stack: int
    code_bytes: int
    max_threads: int
    parameter_sizes: tuple[int, ...]


def kernel_resources(cubin: bytes) -> dict[str, Resources]:
    """The resources of every kernel of a cubin, by symbol. Raises DeviceError if it isn't one."""
    try:
        return _read(cubin)
    except (struct.error, IndexError, ValueError) as error:
        raise DeviceError(f"not a cubin of {len(cubin)} bytes: {error}") from error


def _read(cubin: bytes) -> dict[str, Resources]:
    if cubin[:5] != b"\x7fELF\x02":
        raise ValueError("no 64-bit ELF file")
    sections = _sections(cubin)
    symbols = _symbols(cubin, sections)
    registers: dict[str, int] = {}
    stack: dict[str, int] = {}
    for attribute, payload in _records(_content(cubin, sections, ".nv.info")):
        if attribute in (_REGISTERS, _FRAME_SIZE):
            index, value = struct.unpack("<II", payload)
            (registers if attribute == _REGISTERS else stack)[symbols[index]] = value
    reserved = _RESERVED if ".nv.shared.reserved.0" in sections else 0
    result = {}
    for name, (_, size) in sections.items():
        if not name.startswith(".text."):
            continue
        kernel = name.removeprefix(".text.")
        parameters, max_threads = {}, 0
        for attribute, payload in _records(_content(cubin, sections, f".nv.info.{kernel}")):
            if attribute == _PARAMETER:
                _, ordinal, _, packed = struct.unpack("<IHHI", payload)
                parameters[ordinal] = packed >> 18
            elif attribute == _MAX_THREADS:
                x, y, z = struct.unpack("<III", payload)
                max_threads = x * y * z
        result[kernel] = Resources(
            registers=registers.get(kernel, 0),
            shared=max(sections.get(f".nv.shared.{kernel}", (0, 0))[1] - reserved, 0),
            stack=stack.get(kernel, 0),
            code_bytes=size,
            max_threads=max_threads,
            parameter_sizes=tuple(parameters[i] for i in sorted(parameters)),
        )
    return result


def _sections(cubin: bytes) -> dict[str, tuple[int, int]]:
    """Offset and size of every section, by name."""
    (table,) = struct.unpack_from("<Q", cubin, 40)
    _, count, names_index = struct.unpack_from("<HHH", cubin, 58)
    headers = [struct.unpack_from("<IIQQQQ", cubin, table + 64 * i) for i in range(count)]
    names = headers[names_index][4]
    return {_string(cubin, names + h[0]): (h[4], h[5]) for h in headers}


def _symbols(cubin: bytes, sections: dict[str, tuple[int, int]]) -> list[str]:
    offset, size = sections[".symtab"]
    strings = sections[".strtab"][0]
    return [
        _string(cubin, strings + struct.unpack_from("<I", cubin, at)[0])
        for at in range(offset, offset + size, 24)
    ]


def _string(cubin: bytes, offset: int) -> str:
    return cubin[offset : cubin.index(0, offset)].decode()


def _content(cubin: bytes, sections: dict[str, tuple[int, int]], name: str) -> bytes:
    offset, size = sections.get(name, (0, 0))
    return cubin[offset : offset + size]


def _records(info: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(info):
        form, attribute, size = struct.unpack_from("<BBH", info, at)
        at += 4
        if form == _SIZED:
            yield attribute, info[at : at + size]
            at += size
