"""The command line as a user meets it: streams, exit codes, one-line errors."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gguf_run.commands.prompts import unescape

STORY = (
    ", there was a little girl named Lily. She loved to play outside in the park. One day, "
    "she saw a big, red ball."
)


def run(*args: object, stdin: str | None = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gguf_run.cli", *map(str, args)]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=120)


def test_the_completion_follows_the_prompt_on_stdout(shared: Path) -> None:
    model = shared / "models" / "stories260K.gguf"
    done = run(model, "-p", "Once upon a time", "-n", 40, "--temp", 0, "--device", "cpu")
    assert (done.returncode, done.stdout) == (0, "Once upon a time" + STORY)
    assert "prompt 5 tokens" in done.stderr
    assert "generation 40 tokens" in done.stderr
    assert "tok/s" in done.stderr


def test_without_the_prompt_the_completion_is_all_of_stdout(shared: Path) -> None:
    model = shared / "models" / "stories260K.gguf"
    args = ("-n", 40, "--temp", 0, "--no-display-prompt", "-no-cnv", "--device", "cpu")
    done = run("-m", model, "-p", "Once upon a time", *args)
    assert (done.returncode, done.stdout) == (0, STORY)


def test_the_prompt_may_come_from_a_file_or_stdin(tiny_llama: Path, tmp_path: Path) -> None:
    file = tmp_path / "prompt.txt"
    file.write_text("the an\n")
    args = ("-n", 5, "--temp", 0, "--device", "cpu")
    outputs = [
        run(tiny_llama, "-p", "the an", *args).stdout,
        run(tiny_llama, "-f", file, *args).stdout,
        run(tiny_llama, *args, stdin="the an\n").stdout,
    ]
    assert outputs[0].startswith("the an")
    assert outputs[0] == outputs[1] == outputs[2]


def test_a_seed_repeats_itself(tiny_llama: Path) -> None:
    args = (tiny_llama, "-p", "the", "-n", 20, "--temp", 2, "--device", "cpu")
    assert run(*args, "-s", 1).stdout == run(*args, "--seed", 1).stdout


def test_the_demo_model_writes_a_story() -> None:
    done = run("--demo", "-p", "Once upon a time", "-n", 30, "--temp", 0, "--device", "cpu")
    assert done.returncode == 0
    assert len(done.stdout.split()) > 12


@pytest.mark.parametrize(
    ("given", "expected"),
    [(r"a\nb", "a\nb"), (r"\\n", r"\n"), (r"\q\t", "\\q\t"), ("end\\", "end\\"), (r"\"", '"')],
)
def test_escapes_are_llama_cpps(given: str, expected: str) -> None:
    assert unescape(given) == expected


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
        (["--demo", "-p", "x", "-ngl", "99"], "choose it with --device"),
        (["--demo", "-p", "x", "-fa"], "attention is always fused"),
        (["benhc", "--demo"], "did you mean bench?"),
    ],
)
def test_wrong_usage_is_exit_code_2(args: list[str], said: str) -> None:
    done = run(*args)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_help_and_version_are_on_stdout() -> None:
    assert "MODEL -p PROMPT" in run("--help").stdout
    brief, whole = run("run", "--help").stdout, run("run", "--help-all").stdout
    assert len(brief.splitlines()) < 65 < len(whole.splitlines())
    assert "--temp" in brief
    assert "--dry-base" not in brief
    assert "run --help-all shows all options" in brief
    assert whole.index("Model:") < whole.index("Sampling:") < whole.index("Running:")
    assert {"--dry-base", "--chat-template", "--json-schema"} <= set(whole.replace(",", "").split())
    assert run("--version").stdout.startswith("gguf-run, version")


def test_defaults_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GGUF_RUN_DEVICE", "cpu")
    monkeypatch.setenv("GGUF_RUN_TEMP", "0")
    args = ("--demo", "-p", "One day", "-n", 12)
    assert run(*args).stdout == run(*args, "--temp", 0, "--device", "cpu").stdout
    monkeypatch.setenv("GGUF_RUN_DEVICE", "toaster")
    assert "'toaster' is not one of" in run(*args).stderr


def test_shells_can_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_GGUF_RUN_COMPLETE", "bash_source")
    assert "_GGUF_RUN_COMPLETE=bash_complete" in run().stdout
    monkeypatch.setenv("_GGUF_RUN_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "gguf-run chat --te")
    monkeypatch.setenv("COMP_CWORD", "2")
    assert "--temp" in run().stdout


def test_inspect_shows_metadata_tensors_and_plan(tiny_llama: Path) -> None:
    shown = run("inspect", tiny_llama).stdout
    assert "general.architecture = 'llama'" in shown
    assert "blk.0.attn_q.weight" in shown
    plan = run("inspect", tiny_llama, "--plan").stdout
    assert "flash_attn_ext" in plan
    assert "arena" in plan
    unfused = run("inspect", tiny_llama, "--plan", "--no-fuse").stdout
    assert "norm_mul_mats" in plan
    assert "norm_mul_mats" not in unfused


def test_inspect_as_json_is_json(tiny_llama: Path) -> None:
    found = json.loads(run("inspect", tiny_llama, "--plan", "--json").stdout)
    assert found["metadata"]["general.architecture"] == "llama"
    assert {t["name"] for t in found["tensors"]} >= {"token_embd.weight"}
    assert found["plan"]["steps"][0]["op"] == "get_rows"


def test_tokenize_shows_ids_and_pieces(shared: Path) -> None:
    vocab = shared / "vocab" / "ggml-vocab-llama-spm.gguf"
    assert json.loads(run("tokenize", vocab, "Hello", "--ids").stdout) == [1, 15043]
    assert json.loads(run("tokenize", "-m", vocab, "-p", "Hello", "--ids", "--no-bos").stdout) == [
        15043
    ]
    found = json.loads(run("tokenize", vocab, "--stdin", "--json", stdin="Hello").stdout)
    assert [row["id"] for row in found] == [1, 15043]
    assert "Total number of tokens: 2" in run("tokenize", vocab, "Hello", "--show-count").stdout


@pytest.mark.skipif(os.name == "nt", reason="signals are sent otherwise there")
def test_ctrl_c_ends_cleanly(tiny_llama: Path) -> None:
    args = [tiny_llama, "-p", "the", "--ignore-eos", "-c", "256", "-n", "-1", "--device", "cpu"]
    command = [sys.executable, "-u", "-m", "gguf_run.cli", *map(str, args), "--temp", "1"]
    slow = [*command, "-c", "200000"]
    with subprocess.Popen(slow, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as p:
        assert p.stdout is not None
        p.stdout.read(20)
        time.sleep(0.1)
        p.send_signal(signal.SIGINT)
        _, errors = p.communicate(timeout=60)
    assert p.returncode == 130
    assert "Traceback" not in errors
    assert "generation" in errors


def test_a_reader_that_leaves_ends_it_quietly(tiny_llama: Path) -> None:
    command = [sys.executable, "-m", "gguf_run.cli", str(tiny_llama), "-p", "the", "--ignore-eos"]
    with subprocess.Popen(
        [*command, "--device", "cpu"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as p:
        assert p.stdout is not None
        assert p.stderr is not None
        p.stdout.read(1)
        p.stdout.close()
        errors = p.stderr.read()
    assert "Traceback" not in errors
