"""What a shell offers when the command line is completed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import run


def test_shells_can_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_GGUF_RUN_COMPLETE", "bash_source")
    assert "_GGUF_RUN_COMPLETE=bash_complete" in run().stdout
    monkeypatch.setenv("_GGUF_RUN_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "gguf-run chat --te")
    monkeypatch.setenv("COMP_CWORD", "2")
    assert "--temp" in run().stdout


def test_completion_offers_files_and_options_without_a_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("_GGUF_RUN_COMPLETE", "bash_complete")
    for words, number, expected in (
        ("gguf-run mod", 1, "file,mod"),
        ("gguf-run be", 1, "plain,bench"),
        ("gguf-run --top", 1, "plain,--top-k"),
        ("gguf-run model.gguf --top", 2, "plain,--top-k"),
        ("gguf-run model.gguf -ngl 9 --lora x --top", 6, "plain,--top-k"),
    ):
        monkeypatch.setenv("COMP_WORDS", words)
        monkeypatch.setenv("COMP_CWORD", str(number))
        done = run()
        assert expected in done.stdout.splitlines(), words
        assert done.stderr == ""


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_commands_before_files(tmp_path: Path) -> None:
    program = tmp_path / "gguf-run"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m gguf_run.cli "$@"\n')
    program.chmod(0o755)
    script = """
        eval "$(_GGUF_RUN_COMPLETE=bash_source gguf-run)"
        compopt() { echo "$2"; }
        for words in "gguf-run ben" "gguf-run mod"; do
            COMP_WORDS=($words) COMP_CWORD=1 COMPREPLY=()
            _gguf_run_completion gguf-run
            echo "${COMPREPLY[@]}"
        done
    """
    environment = os.environ | {"PATH": os.pathsep.join([str(tmp_path), os.environ["PATH"]])}
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=environment)
    assert done.stdout.split("\n")[:4] == ["default", "bench", "default", ""], done.stderr
