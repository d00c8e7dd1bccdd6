"""The folder of compiled kernels: shared by processes, damaged, full, forbidden, swept."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import pytest

from gguf_run.cuda import cache as cache_module
from gguf_run.cuda.cache import MOST_DAYS, FileCache, Wanted, sweep
from gguf_run.cuda.select import kernel_cache
from gguf_run.errors import DeviceError

DAY = 24 * 3600.0


def read(cache: FileCache, name: str, content: bytes) -> bytes:
    (found,) = cache.get([Wanted(name, name, lambda: content)])
    return found


def test_damaged_file_is_made_again(tmp_path: Path) -> None:
    cache = FileCache(tmp_path)
    assert read(cache, "f", b"content") == b"content"
    (tmp_path / "f").write_bytes(b"content, damaged")
    with pytest.warns(RuntimeWarning, match="f is damaged"):
        assert read(cache, "f", b"again") == b"again"
    assert read(cache, "f", b"unused") == b"again"


@pytest.mark.parametrize("n_bytes", [0, 1, 31, 32, 38])
def test_truncated_file_is_made_again(tmp_path: Path, n_bytes: int) -> None:
    cache = FileCache(tmp_path)
    read(cache, "f", b"content")
    (tmp_path / "f").write_bytes((tmp_path / "f").read_bytes()[:n_bytes])
    with pytest.warns(RuntimeWarning, match="f is damaged"):
        assert read(cache, "f", b"again") == b"again"


def test_folder_that_cannot_be_written_warns_once_and_works(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = FileCache(tmp_path / "file" / "cache")
    with pytest.warns(RuntimeWarning, match="compiled kernels can't be kept"):
        assert read(cache, "f", b"1") == b"1"
    assert read(cache, "g", b"2") == b"2"
    assert read(cache, "f", b"unused") == b"1"


def test_on_a_full_disk_kernels_are_compiled_and_nothing_is_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> tuple[int, str]:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tempfile.mkstemp", full)
    monkeypatch.setattr("tempfile.mkdtemp", full)
    cache = FileCache(tmp_path)
    with pytest.warns(RuntimeWarning, match=r"No space left on device.*each run compiles"):
        assert read(cache, "f", b"1") == b"1"
    assert read(cache, "f", b"2") == b"2"
    assert not list(tmp_path.iterdir())


def test_a_disk_that_fills_up_during_a_write_leaves_no_part_of_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(source: object, target: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.warns(RuntimeWarning, match="No space left on device"):
        assert read(FileCache(tmp_path), "f", b"1") == b"1"
    assert not list(tmp_path.iterdir())


def test_threads_that_write_at_once_leave_one_whole_file(tmp_path: Path) -> None:
    contents = [bytes([i]) * 100_000 for i in range(8)]
    start = threading.Barrier(8)

    def write(content: bytes) -> None:
        start.wait()
        read(FileCache(tmp_path), "f", content)

    threads = [threading.Thread(target=write, args=(c,)) for c in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read(FileCache(tmp_path), "f", b"unused") in contents
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


_PROCESS = """
import sys, warnings
from pathlib import Path
from gguf_run.cuda.cache import FileCache, Wanted
warnings.simplefilter("error")
content = bytes([int(sys.argv[2])]) * 300_000
for turn in range(40):
    name = f"f{turn % 4}"
    found, = FileCache(Path(sys.argv[1])).get([Wanted(name, name, lambda: content)])
    assert len(found) == 300_000 and len(set(found)) == 1
    if turn % 3 == 0:
        (Path(sys.argv[1]) / name).unlink(missing_ok=True)
"""


def test_processes_that_write_read_and_remove_at_once_see_whole_files(tmp_path: Path) -> None:
    processes = [
        subprocess.Popen([sys.executable, "-c", _PROCESS, str(tmp_path), str(i)]) for i in range(3)
    ]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    assert {p.name for p in tmp_path.iterdir()} <= {"f0", "f1", "f2", "f3"}


def test_failure_to_make_a_file_leaves_none(tmp_path: Path) -> None:
    def fail() -> bytes:
        raise DeviceError("does not compile")

    cache = FileCache(tmp_path)
    with pytest.raises(DeviceError, match="does not compile"):
        cache.get([Wanted("good", "good", lambda: b"1"), Wanted("bad", "bad", fail)])
    assert not (tmp_path / "bad").exists()


def test_the_folder_is_in_the_users_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert kernel_cache() == tmp_path / "gguf-run" / "kernels"


def test_what_was_not_used_for_long_is_removed_when_something_is_made(tmp_path: Path) -> None:
    cache = FileCache(tmp_path)
    for name in ("old", "used", "new"):
        read(cache, name, b"content")
    long_ago = time.time() - (MOST_DAYS + 1) * DAY
    for name in ("old", "used"):
        os.utime(tmp_path / name, (long_ago, long_ago))
    assert read(cache, "used", b"unused") == b"content"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["new", "old", "used"]
    read(cache, "other", b"content")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["new", "other", "used"]


def test_beyond_its_size_the_folder_loses_what_was_used_the_longest_ago(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "MOST_BYTES", 250)
    now = time.time()
    for age, name in enumerate(("newest", "newer", "older", "oldest")):
        (tmp_path / name).write_bytes(bytes(100))
        os.utime(tmp_path / name, (now - age, now - age))
    (tmp_path / "folder").mkdir()
    sweep(tmp_path, now)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder", "newer", "newest"]


def test_a_folder_that_is_gone_is_no_error(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sweep(tmp_path / "none", time.time())
