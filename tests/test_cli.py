"""The command line as a user meets it: what goes to which stream, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import DEMO, DEMO_FILE, run

STORY = (
    ", there was a little girl named Lily. She loved to play outside in the park. One day, "
    "she saw a big, red ball."
)


def test_the_completion_follows_the_prompt_on_stdout(shared: Path) -> None:
    model = shared / "models" / "stories260K.gguf"
    done = run(model, "-p", "Once upon a time", "-n", 40, "--temp", 0, "--device", "cpu")
    assert (done.returncode, done.stdout) == (0, "Once upon a time" + STORY)
    assert done.stderr.startswith("\nload")
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


def test_tokenize_takes_models_as_the_other_commands_do(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("Hello")
    ids = [
        run("tokenize", *args, "--ids").stdout
        for args in (
            ("--demo", "Hello"),
            (DEMO_FILE, "Hello"),
            (DEMO_FILE, "-f", tmp_path / "text.txt"),
        )
    ]
    assert ids[0] == ids[1] == ids[2] != ""
    assert "expected one text" in run("tokenize", "--demo", "Hello", "you").stderr
    assert "expected one model" in run("tokenize").stderr


def test_tokenize_shows_parts_of_characters_as_bytes() -> None:
    pieces = json.loads(run("tokenize", "--demo", "a \u2603", "--json").stdout)
    assert [row["piece"] for row in pieces] == ["<s>", " a", " ", [226], [152], [131]]
    assert "-> b'\\xe2'" in run("tokenize", "--demo", "a \u2603").stdout


@pytest.mark.skipif(os.name == "nt", reason="signals are sent otherwise there")
def test_ctrl_c_ends_cleanly(tiny_llama: Path) -> None:
    args = [tiny_llama, "-p", "the", "--ignore-eos", "-c", "256", "-n", "-1", "--device", "cpu"]
    command = [sys.executable, "-u", "-m", "gguf_run.cli", *map(str, args), "--temp", "1"]
    slow = [*command, "-c", "200000"]
    with subprocess.Popen(slow, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as p:
        assert p.stdout is not None
        p.stdout.read(20)
        p.send_signal(signal.SIGINT)
        errors = p.communicate(timeout=60)[1]
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


def test_an_editors_mark_is_no_part_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "prompt.txt").write_bytes(b"\xef\xbb\xbfOne day\n")
    assert run(*DEMO[:1], "-f", tmp_path / "prompt.txt", *DEMO[3:]).stdout == run(*DEMO).stdout


@pytest.mark.skipif(os.name == "nt", reason="bytes are text there")
def test_bytes_that_are_no_text_go_out_as_they_came() -> None:
    command = [sys.executable, "-m", "gguf_run.cli", "--demo", "-n", "1", "--device", "cpu"]
    done = subprocess.run(command, input=b"caf\xe9 \xff", capture_output=True, timeout=300)
    assert done.stdout.startswith(b"caf\xe9 \xff")


@pytest.mark.skipif(os.name == "nt", reason="closed by the shell")
@pytest.mark.parametrize("stream", ["<&-", ">&-", "2>&-"])
def test_a_closed_stream_is_an_empty_one(stream: str) -> None:
    command = f"{sys.executable} -m gguf_run.cli --demo -n 1 --device cpu {stream}"
    done = subprocess.run(["sh", "-c", command], input="", capture_output=True, text=True)
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
