"""Opening and closing files on disk: views, lifetimes, shards."""

from __future__ import annotations

import gc
import shutil
from pathlib import Path

import gguf
import numpy as np
import pytest
from gguf_bytes import gguf as gguf_bytes
from gguf_bytes import number, tensor, text

from gguf_run.errors import GGUFError, ModelError
from gguf_run.loader import GGUFFile, open_gguf

N_SHARDS = 3


@pytest.fixture
def one_file(tmp_path: Path) -> Path:
    path = tmp_path / "one.gguf"
    data = np.arange(8, dtype="<f4").tobytes() + bytes(range(18))
    rows = [tensor("a", [4, 2]), tensor("b", [32], 2, 32)]
    path.write_bytes(gguf_bytes([text("general.name", "one")], rows, data))
    return path


def shard_bytes(no: int, count: int = N_SHARDS, total: int = N_SHARDS, name: str = "") -> bytes:
    """A shard with the one tensor ``t<no>`` of the value ``no``."""
    keys = [number("split.no", "u16", no), number("split.count", "u16", count)]
    keys.append(number("split.tensors.count", "i32", total))
    data = np.full(4, no, "<f4").tobytes()
    return gguf_bytes(keys, [tensor(name or f"t{no}", [4])], data)


def shard_name(no: int, count: int = N_SHARDS) -> str:
    return f"model-{no + 1:05d}-of-{count:05d}.gguf"


@pytest.fixture
def first_shard(tmp_path: Path) -> Path:
    for no in range(N_SHARDS):
        (tmp_path / shard_name(no)).write_bytes(shard_bytes(no))
    return tmp_path / shard_name(0)


def test_data_are_read_only_views_of_the_mapped_file(one_file: Path) -> None:
    with open_gguf(one_file) as file:
        first, again = file.data("a"), file.data("a")
        assert first.dtype == np.uint8
        assert first.shape == (32,)
        assert np.shares_memory(first, again)
        assert not first.flags.owndata
        with pytest.raises(ValueError, match="read-only"):
            first[0] = 1


def test_shapes_have_the_slowest_axis_first(one_file: Path) -> None:
    with open_gguf(str(one_file)) as file:
        info = file.tensors["a"]
        assert info.shape == (2, 4)
        assert (info.shard, info.path) == (0, one_file)
        values = info.type.decode(file.data("a")).reshape(info.shape)
        np.testing.assert_array_equal(values, [[0, 1, 2, 3], [4, 5, 6, 7]])


def test_metadata_and_tensors_can_not_be_changed(one_file: Path) -> None:
    with open_gguf(one_file) as file:
        with pytest.raises(TypeError):
            file.metadata["general.name"] = "two"  # type: ignore[index]
        with pytest.raises(TypeError):
            del file.tensors["a"]  # type: ignore[attr-defined]


def test_a_closed_file_gives_no_data_but_its_views_live_on(one_file: Path) -> None:
    file = open_gguf(one_file)
    view = file.data("b")
    file.close()
    file.close()
    one_file.unlink()
    gc.collect()
    assert view.tobytes() == bytes(range(18))
    assert file.metadata["general.name"] == "one"
    with pytest.raises(ValueError, match=r"one\.gguf is closed"):
        file.data("a")


def test_leaving_the_context_closes_the_file(one_file: Path) -> None:
    with open_gguf(one_file) as file:
        pass
    with pytest.raises(ValueError, match="closed"):
        file.data("a")


def mapped(path: Path) -> bool:
    return str(path) in Path("/proc/self/maps").read_text()


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs Linux's list of mappings")
def test_closing_unmaps_the_file_with_its_last_view(one_file: Path) -> None:
    file = open_gguf(one_file)
    view = file.data("a")
    file.close()
    assert mapped(one_file)
    del view
    assert not mapped(one_file)


def test_a_tensor_that_is_not_there_is_an_error_that_names_it(one_file: Path) -> None:
    with open_gguf(one_file) as file, pytest.raises(ModelError, match=r"one\.gguf: .*'c'"):
        file.data("c")


def test_a_type_without_decoder_opens_and_only_its_decoding_fails(tmp_path: Path) -> None:
    path = tmp_path / "q1.gguf"
    path.write_bytes(gguf_bytes([], [tensor("t", [128], 41)], bytes(18)))
    with open_gguf(path) as file:
        info = file.tensors["t"]
        assert info.type.name == "Q1_0"
        with pytest.raises(ModelError, match="Q1_0"):
            info.type.decode(file.data("t"))


def check_shards(file: GGUFFile, folder: Path) -> None:
    assert file.path == folder / shard_name(0)
    assert file.metadata["split.no"] == 0
    assert list(file.tensors) == ["t0", "t1", "t2"]
    for no in range(N_SHARDS):
        info = file.tensors[f"t{no}"]
        assert (info.shard, info.path) == (no, folder / shard_name(no))
        np.testing.assert_array_equal(info.type.decode(file.data(info.name)), [no] * 4)


def test_opening_the_first_shard_opens_all(first_shard: Path) -> None:
    with open_gguf(first_shard) as file:
        check_shards(file, first_shard.parent)


def test_shards_behind_links_are_found_by_the_names_of_the_links(
    first_shard: Path, tmp_path: Path
) -> None:
    (tmp_path / "blobs").mkdir()
    for no in range(N_SHARDS):
        path = tmp_path / shard_name(no)
        blob = tmp_path / "blobs" / f"{no:x}"
        shutil.move(path, blob)
        path.symlink_to(blob)
    with open_gguf(first_shard) as file:
        check_shards(file, tmp_path)


def test_shards_of_the_gguf_package_are_read_as_they_were_written(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "llama", split_max_tensors=2)
    arrays = {f"t{i}": np.full((2, 3 + i), i, np.float32) for i in range(5)}
    for name, values in arrays.items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with open_gguf(tmp_path / "m-00001-of-00003.gguf") as file:
        assert file.metadata["general.architecture"] == "llama"
        assert list(file.tensors) == list(arrays)
        for name, values in arrays.items():
            assert file.data(name).tobytes() == values.tobytes()
            assert file.tensors[name].shape == values.shape


@pytest.mark.parametrize("no", [1, 2])
def test_opening_another_shard_is_an_error_that_names_the_first(first_shard: Path, no: int) -> None:
    with pytest.raises(GGUFError, match=rf"part {no + 1} of 3; open {shard_name(0)} instead"):
        open_gguf(first_shard.with_name(shard_name(no)))


def test_a_missing_shard_is_an_error_that_names_it(first_shard: Path) -> None:
    first_shard.with_name(shard_name(1)).unlink()
    with pytest.raises(GGUFError, match=rf"{shard_name(1)}: expected part 2 of 3 .*no such file"):
        open_gguf(first_shard)


def test_a_shard_under_another_name_is_an_error_that_says_the_name(first_shard: Path) -> None:
    renamed = first_shard.rename(first_shard.with_name("renamed.gguf"))
    with pytest.raises(GGUFError, match=r"name ending in '-00001-of-00003\.gguf'.*'renamed\.gguf'"):
        open_gguf(renamed)


def test_a_shard_that_is_another_part_than_its_name_says_is_an_error(first_shard: Path) -> None:
    shutil.copy(first_shard.with_name(shard_name(2)), first_shard.with_name(shard_name(1)))
    with pytest.raises(GGUFError, match=rf"{shard_name(1)}: key 'split.no': expected 1, found 2"):
        open_gguf(first_shard)


def test_a_shard_of_another_count_is_an_error(first_shard: Path) -> None:
    first_shard.with_name(shard_name(2)).write_bytes(shard_bytes(2, count=4))
    with pytest.raises(GGUFError, match=r"key 'split.count': expected 3, found 4"):
        open_gguf(first_shard)


def test_a_malformed_shard_is_an_error_that_names_its_file(first_shard: Path) -> None:
    second = first_shard.with_name(shard_name(1))
    second.write_bytes(second.read_bytes()[:-1])
    with pytest.raises(GGUFError, match=rf"{shard_name(1)}: data of tensor 't1'"):
        open_gguf(first_shard)


def test_a_tensor_in_two_shards_is_an_error_that_names_both_files(first_shard: Path) -> None:
    first_shard.with_name(shard_name(2)).write_bytes(shard_bytes(2, name="t0"))
    with pytest.raises(GGUFError, match=rf"{shard_name(2)}: tensor 't0'.*{shard_name(0)} too"):
        open_gguf(first_shard)


def test_too_few_tensors_in_all_shards_are_an_error(first_shard: Path) -> None:
    first_shard.write_bytes(shard_bytes(0, total=4))
    with pytest.raises(GGUFError, match=r"'split.tensors.count': expected 4 tensors, found 3"):
        open_gguf(first_shard)


@pytest.mark.parametrize(
    "count", [text("split.count", "3"), number("split.count", "i32", -3)], ids=["text", "negative"]
)
def test_a_count_of_shards_that_is_none_is_an_error(tmp_path: Path, count: bytes) -> None:
    path = tmp_path / shard_name(0)
    path.write_bytes(gguf_bytes([count]))
    with pytest.raises(GGUFError, match=r"key 'split.count': expected a count, found"):
        open_gguf(path)


def test_an_absurd_count_of_shards_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / shard_name(0)
    path.write_bytes(gguf_bytes([number("split.count", "u64", 2**63)]))
    with pytest.raises(GGUFError, match="expected a name ending in"):
        open_gguf(path)


def test_a_part_beyond_the_count_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / shard_name(3)
    path.write_bytes(shard_bytes(3))
    with pytest.raises(GGUFError, match=r"key 'split.no': expected less than 3, found 3"):
        open_gguf(path)


def test_a_file_split_into_one_is_a_file_like_any(tmp_path: Path) -> None:
    path = tmp_path / "whole.gguf"
    path.write_bytes(shard_bytes(0, count=1, total=1))
    with open_gguf(path) as file:
        assert list(file.tensors) == ["t0"]
