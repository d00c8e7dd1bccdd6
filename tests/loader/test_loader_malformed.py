"""Each way in which one file can be malformed is a GGUFError that says where and what."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from gguf_bytes import ARRAY, STRING, array, gguf, number, pair, string, tensor, text, u32, u64

from gguf_run.errors import GGUFError
from gguf_run.loader import parse_part

PATH = Path("some.gguf")
U32 = 4
HEAD = 24
"""Where the first pair or tensor starts."""


def complaint(blob: bytes) -> str:
    """What is said of a file that must be refused, without the file's name."""
    with pytest.raises(GGUFError) as caught:
        parse_part(blob, PATH)
    message = str(caught.value)
    assert message.startswith(f"{PATH}: ")
    return message.removeprefix(f"{PATH}: ")


def nested(depth: int) -> bytes:
    """The payload of an array of ``depth`` levels, of one u32."""
    payload = array(U32, [u32(7)])
    for _ in range(depth - 1):
        payload = array(ARRAY, [payload])
    return payload


HEADER_FAULTS = {
    "empty file": (b"", 0, "'GGUF'.*an empty file"),
    "first bytes of a file": (b"GG", 0, "'GGUF'.*b'GG'"),
    "other magic": (b"GGML" + bytes(60), 0, "'GGUF'.*b'GGML'"),
    "safetensors": (u64(300) + b'{"weight":{"dtype":"F32"}}', 0, "a safetensors file"),
    "zip": (b"PK\x03\x04" + bytes(60), 0, "PyTorch"),
    "pickle": (b"\x80\x02\x8a\n" + bytes(60), 0, "PyTorch"),
    "page": (b"\n<!doctype HTML><html>", 0, "a web page"),
    "git-lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:", 0, "git lfs pull"),
    "before GGUF": (b"tjgg" + bytes(60), 0, "from before GGUF"),
    "no version": (b"GGUF\3", 4, "version .4 bytes., found the end of the file after 1"),
    "version 0": (gguf(version=0), 4, "version 2 or 3, found 0"),
    "version 1": (gguf(version=1), 4, "version 2 or 3, found 1; convert"),
    "version 4": (gguf(version=4), 4, "version 2 or 3, found 4; a newer"),
    "big-endian": (b"GGUF" + (3).to_bytes(4, "big") + bytes(16), 4, "little-endian.*big-endian"),
    "no counts": (b"GGUF" + u32(3) + u64(0), 16, "number of metadata pairs .8 bytes"),
    "too many tensors": (gguf(n_tensors=1), 8, "number of tensors of at most 0 .*found 1$"),
    "absurd tensors": (gguf(n_tensors=2**64 - 1), 8, f"number of tensors.*{2**64 - 1}"),
    "too many pairs": (gguf(n_pairs=1), 16, "number of metadata pairs of at most 0 .*found 1$"),
    "absurd pairs": (gguf(n_pairs=2**63), 16, f"number of metadata pairs.*{2**63}"),
}

VALUE = HEAD + 8 + 1 + 4
"""Where the value of a first pair with a key of one letter starts."""

PAIR_FAULTS = {
    "empty key": (text("", "abcdef"), "metadata pair 0 of 1", HEAD, "1 to 65535 bytes.*one of 0"),
    "long key": (text("k" * 65536, ""), "metadata pair 0 of 1", HEAD, "one of 65536"),
    "key beyond the end": (
        u64(99) + bytes(20),
        "metadata pair 0 of 1",
        HEAD,
        "length of the key of at most 20 .*found 99",
    ),
    "absurd key": (u64(2**64 - 1) + bytes(20), "metadata pair 0 of 1", HEAD, f"{2**64 - 1}"),
    "unknown type": (pair("k", 13, u64(0)), "key 'k'", VALUE - 4, "type of 0 to 12, found 13"),
    "cut in the type": (string("k" * 8) + b"\4\0", "key 'k+'", HEAD + 16, "type of the value"),
    "cut in a number": (
        pair("k", 10, u32(0)),
        "key 'k'",
        VALUE,
        "uint64 value .8 bytes., found the end of the file after 4",
    ),
    "boolean of 2": (pair("k", 7, b"\2"), "key 'k'", VALUE, "0 or 1, found the byte 2"),
    "string beyond the end": (
        pair("k", STRING, u64(5) + b"four"),
        "key 'k'",
        VALUE,
        "length of the string of at most 4 .*found 5",
    ),
    "string without length": (pair("k", STRING, u32(0)), "key 'k'", VALUE, "after 4"),
    "array of unknown type": (pair("k", ARRAY, array(13, [])), "key 'k'", VALUE, "found 13"),
    "array without count": (pair("k", ARRAY, u32(U32)), "key 'k'", VALUE + 4, "number of items"),
    "array beyond the end": (
        pair("k", ARRAY, u32(U32) + u64(3) + bytes(8)),
        "key 'k'",
        VALUE + 4,
        "number of items of at most 2 .*found 3",
    ),
    "absurd array": (
        pair("k", ARRAY, u32(10) + u64(2**61) + bytes(8)),
        "key 'k'",
        VALUE + 4,
        f"found {2**61}",
    ),
    "array with a boolean of 255": (
        pair("k", ARRAY, array(7, [b"\1", b"\xff"])),
        "key 'k'",
        VALUE + 12,
        "found the byte 255",
    ),
    "absurd array of strings": (
        pair("k", ARRAY, u32(STRING) + u64(2**40) + bytes(80)),
        "key 'k'",
        VALUE + 4,
        f"number of strings of at most 10 .*found {2**40}",
    ),
    "string of an array beyond the end": (
        pair("k", ARRAY, array(STRING, [string("one"), u64(9) + b"short"])),
        "key 'k', string 1 of 2",
        VALUE + 12 + 11,
        "length of the string of at most 5 .*found 9",
    ),
    "absurd string of an array": (
        pair("k", ARRAY, array(STRING, [string("one"), u64(2**64 - 1), string("three")])),
        "key 'k', string 1 of 3",
        VALUE + 12 + 11,
        f"found {2**64 - 1}",
    ),
    "array of strings cut in a length": (
        pair("k", ARRAY, array(STRING, [string("x" * 20), b"\0\0"])),
        "key 'k', string 1 of 2",
        VALUE + 12 + 28,
        "found the end of the file after 2",
    ),
    "absurd array of arrays": (
        pair("k", ARRAY, u32(ARRAY) + u64(4) + bytes(47)),
        "key 'k'",
        VALUE + 4,
        "number of arrays of at most 3 .*found 4",
    ),
    "arrays nine deep": (
        pair("k", ARRAY, nested(9)),
        "key 'k'",
        VALUE + 8 * 12,
        "at most 8 deep",
    ),
    "alignment of 0": (number("general.alignment", "u32", 0), None, None, "power of two.*value 0"),
    "alignment of 48": (number("general.alignment", "u32", 48), None, None, "two.*value 48"),
    "alignment as u64": (number("general.alignment", "u64", 32), None, None, "u32.*type 10"),
    "alignment as text": (text("general.alignment", "32"), None, None, "u32.*type 8"),
}


def f32(name: str, n: int, offset: int = 0) -> bytes:
    return tensor(name, [n], 0, offset)


ROW = HEAD + 8 + 1
"""Where the number of dimensions of a first tensor with a name of one letter stands."""

TENSOR_FAULTS = {
    "empty name": ([tensor("", [8])], "tensor 0 of 1", HEAD, "1 to 63 bytes, found one of 0"),
    "long name": ([f32("n" * 64, 8)], "tensor 0 of 1", HEAD, "1 to 63 bytes, found one of 64"),
    "absurd name": ([u64(2**62) + bytes(40)], "tensor 0 of 1", HEAD, f"found {2**62}"),
    "the same name again": (
        [f32("t", 8), f32("t", 8, 32)],
        "tensor 1 of 2",
        HEAD + 33,
        "each tensor once, found 't' again",
    ),
    "no dimension": ([tensor("t", [], n_dims=0) + u64(0)], "tensor 't'", ROW, "1 to 4 .*found 0"),
    "five dimensions": ([tensor("t", [1] * 5)], "tensor 't'", ROW, "1 to 4 .*found 5"),
    "absurd dimensions": ([tensor("t", [8], n_dims=2**32 - 1)], "tensor 't'", ROW, "4294967295"),
    "dimension of 0": ([tensor("t", [8, 0])], "tensor 't'", ROW, r"elements, found shape \(0, 8\)"),
    "one dimension overflows": ([tensor("t", [2**63])], "tensor 't'", ROW, r"2\*\*63 - 1 elements"),
    "elements overflow": (
        [tensor("t", [2**32, 2**31])],
        "tensor 't'",
        ROW,
        r"2\*\*63 - 1 elements, found shape \(2147483648, 4294967296\)",
    ),
    "elements overflow to a small number": (
        [tensor("t", [2**32 + 1, 2**32])],
        "tensor 't'",
        ROW,
        "elements",
    ),
    "bytes overflow": ([tensor("t", [2**62], 28)], "data of tensor 't'", 64, f"{2**65} bytes"),
    "unknown type": ([tensor("t", [8], 999)], "tensor 't'", ROW + 12, "known.*found 999; .*fork"),
    "removed type 4": ([tensor("t", [32], 4)], "tensor 't'", ROW + 12, "found 4, Q4_2.*removed"),
    "removed type 5": ([tensor("t", [32], 5)], "tensor 't'", ROW + 12, "Q4_3.*removed"),
    "removed type 31": ([tensor("t", [32], 31)], "tensor 't'", ROW + 12, "Q4_0_4_4.*removed"),
    "removed type 32": ([tensor("t", [32], 32)], "tensor 't'", ROW + 12, "Q4_0_4_8.*removed"),
    "removed type 33": ([tensor("t", [32], 33)], "tensor 't'", ROW + 12, "Q4_0_8_8.*removed"),
    "removed type 36": ([tensor("t", [32], 36)], "tensor 't'", ROW + 12, "IQ4_NL_4_4.*removed"),
    "removed type 37": ([tensor("t", [32], 37)], "tensor 't'", ROW + 12, "IQ4_NL_4_8.*removed"),
    "removed type 38": ([tensor("t", [32], 38)], "tensor 't'", ROW + 12, "IQ4_NL_8_8.*removed"),
    "row of part of a block": (
        [tensor("t", [48, 2], 2)],
        "tensor 't'",
        ROW + 20,
        "whole Q4_0 blocks of 32 elements, found rows of 48",
    ),
    "data not at the start": (
        [f32("t", 8, 32)],
        "tensor 't'",
        ROW + 16,
        r"offset 0.*found 32 \(a gap\)",
    ),
    "misaligned data": (
        [f32("t", 1), f32("u", 1, 4)],
        "tensor 'u'",
        ROW + 33 + 16,
        r"offset 32.*found 4 \(misaligned to 32\)",
    ),
    "overlapping data": (
        [f32("t", 16), f32("u", 1, 32)],
        "tensor 'u'",
        ROW + 33 + 16,
        r"offset 64.*found 32 \(an overlap\)",
    ),
    "gap between data": (
        [f32("t", 8), f32("u", 1, 64)],
        "tensor 'u'",
        ROW + 33 + 16,
        r"offset 32.*found 64 \(a gap\)",
    ),
    "absurd offset": (
        [f32("t", 8), f32("u", 1, 2**64 - 32)],
        "tensor 'u'",
        ROW + 33 + 16,
        f"found {2**64 - 32}",
    ),
    "data beyond the end": (
        [f32("t", 8), f32("u", 65, 32)],
        "data of tensor 'u'",
        96 + 32,
        "260 bytes, up to byte 388, found the end of the file at byte 352: it is cut short",
    ),
}


@pytest.mark.parametrize("fault", HEADER_FAULTS)
def test_a_wrong_start_is_an_error_that_says_what_the_file_is(fault: str) -> None:
    blob, at, what = HEADER_FAULTS[fault]
    assert re.match(rf"header at byte {at}: expected .*{what}", complaint(blob))


@pytest.mark.parametrize("fault", PAIR_FAULTS)
def test_a_malformed_pair_is_an_error_that_names_key_and_offset(fault: str) -> None:
    blob, subject, at, what = PAIR_FAULTS[fault]
    if subject is None:
        subject, at = "key 'general.alignment'", HEAD + 8 + 17
    expected = rf"{subject} at byte {at}: expected .*{what}"
    assert re.match(expected, complaint(gguf([blob])))


@pytest.mark.parametrize("fault", TENSOR_FAULTS)
def test_a_malformed_tensor_is_an_error_that_names_tensor_and_offset(fault: str) -> None:
    rows, subject, at, what = TENSOR_FAULTS[fault]
    expected = rf"{subject} at byte {at}: expected .*{what}"
    assert re.match(expected, complaint(gguf([], rows, bytes(256))))


def test_a_key_given_twice_is_an_error_that_names_it() -> None:
    blob = gguf([number("twice", "u8", 1), number("twice", "u8", 1)])
    expected = r"metadata pair 1 of 2 at byte 42: expected each key once, found 'twice' again"
    assert re.match(expected, complaint(blob))


def test_a_header_cut_anywhere_is_an_error() -> None:
    pairs = [
        number("a.number", "f64", 0.5),
        text("a.text", "value"),
        pair("strings", ARRAY, array(STRING, [string("one"), string(""), string("three")])),
        pair("deep", ARRAY, nested(3)),
    ]
    whole = gguf(pairs, [f32("t", 8), tensor("u", [32, 2], 2, 32)], bytes(32 + 36))
    parse_part(whole, PATH)
    for n in range(len(whole)):
        complaint(whole[:n])


@pytest.mark.parametrize(
    "blob",
    [
        pair("k" * 60000, 13, b"\0"),
        text("general.alignment", "3" * 60000),
        pair("general.alignment", ARRAY, array(STRING, [string("3" * 900)] * 900)),
        pair("general.alignment", ARRAY, array(U32, [u32(32)] * 9000)),
    ],
    ids=["key", "string", "strings", "numbers"],
)
def test_a_long_hostile_value_is_cut_in_the_message(blob: bytes) -> None:
    assert len(complaint(gguf([blob]))) < 1000
