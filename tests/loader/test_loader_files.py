"""What can be wrong with a file as a whole: absent, unreadable, no file at all, sparse."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import pytest
from gguf_bytes import ARRAY, STRING, gguf, pair, u32, u64

from gguf_run.errors import GGUFError
from gguf_run.loader import open_gguf

U32 = 4


def test_a_missing_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(GGUFError, match=r"absent\.gguf: expected a GGUF file, found none"):
        open_gguf(tmp_path / "absent.gguf")


def test_a_directory_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(GGUFError, match="found a directory"):
        open_gguf(tmp_path)


def test_a_pipe_is_an_error_and_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.gguf")
    with pytest.raises(GGUFError, match="found a device, pipe or socket"):
        open_gguf(tmp_path / "pipe.gguf")


def test_an_empty_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty.gguf").touch()
    with pytest.raises(GGUFError, match=r"empty\.gguf: .*found an empty file"):
        open_gguf(tmp_path / "empty.gguf")


def test_a_file_that_may_not_be_read_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, mode: str) -> None:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "secret.gguf").touch()
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(GGUFError, match=r"secret\.gguf: expected a readable file.*denied"):
        open_gguf(tmp_path / "secret.gguf")


@pytest.mark.parametrize("name", ["\0.gguf", "n" * 5000], ids=["null", "too long"])
def test_a_name_that_no_file_can_have_is_an_error(name: str) -> None:
    with pytest.raises(GGUFError, match="expected a readable file"):
        open_gguf(name)


SPARSE = {
    "string": pair("k", STRING, u64(2**34)),
    "numbers": pair("k", ARRAY, u32(U32) + u64(2**32)),
    "strings": pair("k", ARRAY, u32(STRING) + u64(2**30)),
    "one string of many": pair("k", ARRAY, u32(STRING) + u64(2) + u64(2**34)),
    "arrays": pair("k", ARRAY, u32(ARRAY) + u64(2**30)),
}


@pytest.mark.parametrize("kind", SPARSE)
def test_a_sparse_file_backs_no_absurd_value(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "sparse.gguf"
    path.write_bytes(gguf([SPARSE[kind]]))
    os.truncate(path, 2**36)
    tracemalloc.start()
    try:
        with pytest.raises(GGUFError, match=r"key 'k'.*of at most .* 128 MiB that a header may"):
            open_gguf(path)
        assert tracemalloc.get_traced_memory()[1] < 2**28
    finally:
        tracemalloc.stop()
