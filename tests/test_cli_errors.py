"""What the command line says when it can't do what it was asked: one line, and an exit code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import gguf
import numpy as np
import pytest
from command_line import run

from gguf_run import cli


def test_a_missing_file_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    done = run(tmp_path / "none.gguf", "-p", "x")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert "none.gguf" in done.stderr


def test_verbose_shows_the_traceback_of_an_error(tmp_path: Path) -> None:
    assert "Traceback" in run(tmp_path / "none.gguf", "-p", "x", "--verbose").stderr


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["-p", "x"], "expected one model"),
        (["--demo", "other.gguf", "-p", "x"], "found"),
        (["--demo", "-p", "x", "-f", "y"], "both -p and -f"),
        (["--demo", "-p", "x", "--top-p", "7"], "top_p"),
        (["--demo", "-p", "x", "--temperatur", "1"], "--temp"),
        (["--demo", "-p", "x", "-n", "many"], "integer"),
        (["--demo", "-p", "x", "-c", "3000000000"], "2147483647"),
        (["--demo", "-p", "x", "-s", "99999999999"], "-1 to 4294967295"),
        (["--demo", "-p", "x", "--lora", "y"], "merged into its model"),
        (["--demo", "-p", "x", "--rope-freq-base", "1e6"], "positions are scaled as the file says"),
        (["--demo", "-p", "x", "-t"], "'-t' requires an argument"),
        (["--demo", "-prompt", "x"], "No such option: -prompt. Did you mean --prompt?"),
        (["--demo", "-p", "x", "-l", "15043"], "such as 15043+1 or 15043-inf, found '15043'"),
        (["--demo", "-p", "x", "--sampler-seq", "kq"], "found 'q'"),
        (["--demo", "-p", "x", "--samplers", "top_k", "--sampler-seq", "k"], "found both"),
        (["--demo", "-f", "none.txt"], "-f none.txt: expected a UTF-8 text file: No such file"),
        (["--demo", "-p", "x", "--regex", "\udcff"], "--regex: expected UTF-8 text"),
        (["chat", "--demo", "--chat-template-kwargs", "[1]"], "expected a JSON object"),
        (["benhc", "--demo"], "did you mean bench?"),
    ],
)
def test_wrong_usage_is_exit_code_2(args: list[str], said: str) -> None:
    done = run(*args)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
@pytest.mark.parametrize("args", [["--demo", "-n", "1"], ["chat", "--demo", "-n", "1"]])
def test_a_full_disk_is_one_line(args: list[str]) -> None:
    command = [sys.executable, "-m", "gguf_run.cli", *args, "--device", "cpu"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, input="a\n", stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "error: No space left on device"
    assert "Traceback" not in done.stderr


def test_too_little_memory_and_faults_of_the_program_are_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(error: Exception) -> None:
        raise error

    for error, said in (
        (MemoryError("3 TB"), "error: out of memory (3 TB); lower -c or -b"),
        (ValueError("odd"), "error: ValueError: odd; this is a fault of gguf-run itself"),
    ):
        monkeypatch.setattr(cli.cli, "main", lambda *args, e=error, **kwargs: fail(e))
        assert cli._run([]) == 1
        assert capsys.readouterr().err.startswith(said)
        cli._run(["-v"])
        assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("folder", "found a folder with a.gguf, b.gguf"),
        ("https://huggingface.co/u/r/resolve/main/a/m.gguf?x=y", "be -hf u/r -hff a/m.gguf"),
        ("https://example.com/m.gguf", "found an address; download it first"),
        ("hf.co/user/repo-GGUF:Q8_0", "it would be -hf user/repo-GGUF:Q8_0"),
        ("user/repo-GGUF", "from the hub it would be -hf user/repo-GGUF"),
        ("user/model.gguf", "expected a GGUF file, found none; check the path"),
    ],
)
def test_a_path_that_is_none_says_what_to_say_instead(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    path: str,
    said: str,
) -> None:
    (tmp_path / "folder").mkdir()
    for name in ("b.gguf", "a.gguf"):
        (tmp_path / "folder" / name).touch()
    monkeypatch.chdir(tmp_path)
    assert cli._run([path, "-p", "x"]) == 1
    written = capsys.readouterr()
    assert written.out == ""
    assert said in written.err


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"general.type": "adapter"}, "merge it into its model"),
        ({"general.type": "imatrix"}, "an importance matrix"),
        ({"general.architecture": "controlvector"}, "a control vector"),
        ({"general.architecture": "zebra"}, "'zebra' is not supported"),
    ],
)
@pytest.mark.parametrize("command", [[], ["inspect", "--plan"]])
def test_a_file_that_is_no_model_says_what_it_is(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    keys: dict[str, str],
    said: str,
    command: list[str],
) -> None:
    path = tmp_path / "other.gguf"
    writer = gguf.GGUFWriter(path, keys.get("general.architecture", "llama"))
    if "general.type" in keys:
        writer.add_string("general.type", keys["general.type"])
    writer.add_tensor("a", np.zeros((4, 4), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert cli._run([*command, str(path), *([] if command else ["-p", "x"])]) == 1
    assert said in capsys.readouterr().err
