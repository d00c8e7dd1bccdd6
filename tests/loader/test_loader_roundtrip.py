"""What was written is what is read: files of our own tiny writer and of the gguf package."""

from __future__ import annotations

import struct
import tempfile
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from gguf_bytes import ARRAY, KIND, STRING, array, number, pair, string, tensor, u32
from gguf_bytes import gguf as gguf_bytes
from hypothesis import given, settings
from hypothesis import strategies as st

from gguf_run.errors import GGUFError
from gguf_run.loader import GGUFFile, open_gguf, parse_part
from gguf_run.quants import QUANT_TYPES

NUMPY = {
    name: np.dtype("?" if name == "bool" else form.lower() if name[0] == "f" else form)
    for name, (_, form) in KIND.items()
}


def numbers(kind: str) -> st.SearchStrategy[Any]:
    if kind == "bool":
        return st.booleans()
    if kind.startswith("f"):
        return st.floats(width=int(kind[1:]), allow_nan=False)
    bits = int(kind[1:])
    low = -(2 ** (bits - 1)) if kind[0] == "i" else 0
    return st.integers(low, low + 2**bits - 1)


# Every string of bytes is a string to GGUF: what is no UTF-8 must survive too.
texts = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.binary(max_size=20).map(lambda raw: raw.decode("utf-8", "surrogateescape")),
)


def number_arrays(kind: str) -> st.SearchStrategy[tuple[bytes, Any]]:
    code, form = KIND[kind]

    def encode(items: list[Any]) -> tuple[bytes, Any]:
        payload = array(code, [struct.pack(form, item) for item in items])
        return payload, np.array(items, NUMPY[kind])

    return st.lists(numbers(kind), max_size=9).map(encode)


def string_arrays() -> st.SearchStrategy[tuple[bytes, Any]]:
    items = st.lists(texts, max_size=9)
    return items.map(lambda found: (array(STRING, [string(s) for s in found]), found))


def array_of(parts: list[tuple[bytes, Any]]) -> tuple[bytes, Any]:
    return array(ARRAY, [payload for payload, _ in parts]), [value for _, value in parts]


flat_arrays = st.one_of(string_arrays(), *map(number_arrays, KIND))
arrays = st.recursive(
    flat_arrays, lambda inner: st.lists(inner, max_size=3).map(array_of), max_leaves=6
)


def scalars(kind: str) -> st.SearchStrategy[tuple[int, bytes, Any]]:
    code, form = KIND[kind]
    return numbers(kind).map(lambda v: (code, struct.pack(form, v), v))


values = st.one_of(
    texts.map(lambda s: (STRING, string(s), s)),
    arrays.map(lambda both: (ARRAY, *both)),
    *map(scalars, KIND),
)
keys = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20).filter(
    lambda key: key != "general.alignment"
)
names = st.text("abc.é", min_size=1, max_size=20)
shapes = st.lists(st.integers(1, 3), min_size=0, max_size=3)


@st.composite
def files(draw: st.DrawFn) -> tuple[bytes, dict[str, Any], dict[str, tuple[Any, ...]]]:
    """A file, its metadata, and its tensors as name -> (type, shape, bytes)."""
    pairs, metadata = [], {}
    for key, (code, payload, value) in draw(st.dictionaries(keys, values, max_size=6)).items():
        pairs.append(pair(key, code, payload))
        metadata[key] = value
    alignment = draw(st.sampled_from([None, 1, 8, 32, 64, 4096]))
    if alignment is not None:
        pairs.append(number("general.alignment", "u32", alignment))
        metadata["general.alignment"] = alignment
    alignment = alignment or 32
    rows, data, tensors = [], b"", {}
    kinds = st.sampled_from(list(QUANT_TYPES.values()))
    for name in draw(st.lists(names, unique=True, max_size=5)):
        kind = draw(kinds)
        blocks, outer = draw(st.integers(1, 3)), draw(shapes)
        raw = bytes([len(rows) + 1]) * (blocks * kind.type_size * int(np.prod(outer)))
        data += bytes(-len(data) % alignment)
        shape = (*outer, blocks * kind.block_size)
        rows.append(tensor(name, shape[::-1], kind.id, len(data)))
        data += raw
        tensors[name] = (kind, shape, raw)
    version = draw(st.sampled_from([2, 3]))
    return gguf_bytes(pairs, rows, data, version=version, alignment=alignment), metadata, tensors


def same(found: Any, expected: Any) -> bool:
    """Equal in type, dtype and value."""
    if isinstance(expected, np.ndarray):
        return (
            isinstance(found, np.ndarray)
            and found.dtype == expected.dtype
            and np.array_equal(found, expected)
        )
    if isinstance(expected, list):
        return (
            isinstance(found, list)
            and len(found) == len(expected)
            and all(map(same, found, expected))
        )
    return type(found) is type(expected) and bool(found == expected)


@settings(max_examples=300, deadline=None)
@given(files())
def test_any_valid_file_is_read_as_it_was_written(
    written: tuple[bytes, dict[str, Any], dict[str, tuple[Any, ...]]],
) -> None:
    blob, metadata, tensors = written
    file = GGUFFile([parse_part(blob, Path("any.gguf"))])
    assert list(file.metadata) == list(metadata)
    for key, value in metadata.items():
        assert same(file.metadata[key], value), key
    assert list(file.tensors) == list(tensors)
    for name, (kind, shape, raw) in tensors.items():
        info = file.tensors[name]
        assert (info.name, info.type, info.shape, info.n_bytes) == (name, kind, shape, len(raw))
        assert file.data(name).tobytes() == raw == blob[info.offset : info.offset + info.n_bytes]


@pytest.mark.parametrize("items", [[], [""], ["", ""], ["\0", "\0\0", ""], ["a" * 300, "é"]])
def test_arrays_of_odd_strings_are_read_as_written(items: list[str]) -> None:
    blob = gguf_bytes([pair("k", ARRAY, array(STRING, [string(s) for s in items]))])
    assert parse_part(blob, Path("odd.gguf")).metadata["k"] == items


def test_arrays_are_followed_eight_deep() -> None:
    payload = array(4, [u32(7)])
    for _ in range(7):
        payload = array(ARRAY, [payload])
    value: Any = parse_part(gguf_bytes([pair("k", ARRAY, payload)]), Path("deep")).metadata["k"]
    for _ in range(7):
        (value,) = value
    assert value.tolist() == [7]


def test_padding_after_the_last_tensor_is_not_needed_and_not_refused() -> None:
    rows = [tensor("t", [3])]
    for data in (bytes(12), bytes(32), bytes(99)):
        part = parse_part(gguf_bytes([], rows, data), Path("tail.gguf"))
        assert part.tensors["t"].n_bytes == 12


def test_an_alignment_may_be_larger_than_a_file_without_tensors() -> None:
    blob = gguf_bytes([number("general.alignment", "u32", 2**31)])
    assert parse_part(blob, Path("vocab.gguf")).metadata == {"general.alignment": 2**31}


def test_byte_counts_beyond_32_bits_are_not_cut() -> None:
    blob = gguf_bytes([], [tensor("t", [2**32, 2], 24)])
    with pytest.raises(GGUFError, match=f"{2**33} bytes"):
        parse_part(blob, Path("large.gguf"))


@st.composite
def writer_calls(draw: st.DrawFn) -> tuple[dict[str, tuple[Any, gguf.GGUFValueType]], list[Any]]:
    """Pairs and tensors as gguf.GGUFWriter takes them."""
    pairs: dict[str, tuple[Any, gguf.GGUFValueType]] = {}
    for key in draw(st.lists(st.text("abc.", min_size=1, max_size=9), unique=True, max_size=5)):
        kind = draw(st.sampled_from(sorted(KIND)))
        code = gguf.GGUFValueType(KIND[kind][0])
        pairs[f"x.{key}"] = (draw(numbers(kind)), code)
    seeds = draw(st.lists(st.integers(0, 2**32 - 1), max_size=4, unique=True))
    shapes = st.lists(st.integers(1, 5), min_size=1, max_size=4)
    return pairs, [(f"t.{seed}", seed, draw(shapes)) for seed in seeds]


@settings(max_examples=40, deadline=None)
@given(writer_calls(), st.lists(texts, min_size=1, max_size=20))
def test_files_of_the_gguf_package_are_read_as_they_were_written(
    calls: tuple[dict[str, tuple[Any, gguf.GGUFValueType]], list[Any]], tokens: list[str]
) -> None:
    pairs, tensors = calls
    tokens = [t.encode("utf-8", "replace").decode() for t in tokens]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "written.gguf")
        writer = gguf.GGUFWriter(path, "llama")
        for key, (value, code) in pairs.items():
            writer.add_key_value(key, value, code)
        writer.add_token_list(tokens)
        arrays = {
            name: np.random.default_rng(seed).standard_normal(shape, np.float32)
            for name, seed, shape in tensors
        }
        for name, values in arrays.items():
            writer.add_tensor(name, values)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        with open_gguf(path) as file:
            assert file.metadata["general.architecture"] == "llama"
            assert file.metadata["tokenizer.ggml.tokens"] == tokens
            for key, (value, _) in pairs.items():
                assert file.metadata[key] == value
            assert list(file.tensors) == list(arrays)
            for name, values in arrays.items():
                info = file.tensors[name]
                assert info.shape == values.shape
                decoded = info.type.decode(file.data(name)).reshape(info.shape)
                np.testing.assert_array_equal(decoded, values)


@pytest.mark.parametrize(
    "name",
    ["models/stories260K.gguf", "quants/wide-Q4_K_M.gguf", "vocab/ggml-vocab-llama-spm.gguf"],
)
def test_real_files_are_read_as_the_gguf_package_reads_them(shared: Path, name: str) -> None:
    path = shared / name
    reader = gguf.GGUFReader(path)
    with open_gguf(path) as file:
        fields = {k: f for k, f in reader.fields.items() if not k.startswith("GGUF.")}
        assert list(file.metadata) == list(fields)
        for key, field in fields.items():
            found = file.metadata[key]
            plain = found.tolist() if isinstance(found, np.ndarray) else found
            assert plain == field.contents(), key
        assert [t.name for t in reader.tensors] == list(file.tensors)
        for expected in reader.tensors:
            info = file.tensors[expected.name]
            assert info.type.name == expected.tensor_type.name
            assert info.shape == tuple(map(int, expected.shape[::-1]))
            assert info.offset == expected.data_offset
            assert file.data(info.name).tobytes() == expected.data.tobytes()
