"""`--prompt-cache`: what one run has computed of a prompt, the next one goes on from."""

from __future__ import annotations

from pathlib import Path

import pytest
from make_gguf import write_model

from gguf_run import cli

PROMPT = "the cat and the dog"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "prompt.state"


def run(capfd: pytest.CaptureFixture[str], *args: object) -> tuple[str, str]:
    """stdout and stderr of a run that succeeds."""
    with pytest.raises(SystemExit) as end:
        cli.main([*map(str, args), "--device", "cpu", "-s", "1"])
    out, err = capfd.readouterr()
    assert end.value.code == 0, err
    return out, err


def fail(capfd: pytest.CaptureFixture[str], *args: object) -> tuple[object, str]:
    """Exit code and stderr of a run that fails."""
    with pytest.raises(SystemExit) as end:
        cli.main([*map(str, args), "--device", "cpu"])
    return end.value.code, capfd.readouterr().err


def test_the_second_run_computes_the_last_token_of_the_prompt_alone(
    capfd: pytest.CaptureFixture[str], tiny_llama: Path, file: Path
) -> None:
    plain, _ = run(capfd, tiny_llama, "-p", PROMPT, "-n", 8)
    first, told = run(capfd, tiny_llama, "-p", PROMPT, "-n", 8, "--prompt-cache", file)
    second, told_again = run(capfd, tiny_llama, "-p", PROMPT, "-n", 8, "--prompt-cache", file)
    assert plain == first == second
    assert "kept" not in told
    n_prompt = int(told.split("prompt ")[1].split()[0])
    assert f"({n_prompt - 1} of them kept)" in told_again


def test_a_prompt_can_be_computed_with_no_text_behind_it(
    capfd: pytest.CaptureFixture[str], tiny_llama: Path, file: Path
) -> None:
    assert run(capfd, tiny_llama, "-p", PROMPT, "-n", 0, "--prompt-cache", file)[0] == PROMPT
    _, told = run(capfd, tiny_llama, "-p", PROMPT + " and", "-n", 2, "--prompt-cache", file)
    assert "of them kept" in told


def test_the_text_is_kept_when_that_is_asked_for(
    capfd: pytest.CaptureFixture[str], tiny_llama: Path, file: Path
) -> None:
    args = (tiny_llama, "-p", PROMPT, "-n", 150, "--ignore-eos", "--prompt-cache", file)
    run(capfd, *args)
    size = file.stat().st_size
    run(capfd, *args, "--prompt-cache-all")
    assert file.stat().st_size > size


def test_a_file_to_read_alone_stays_as_it_is(
    capfd: pytest.CaptureFixture[str], tiny_llama: Path, file: Path
) -> None:
    args = (tiny_llama, "-n", 3, "--prompt-cache", file)
    run(capfd, *args, "-p", PROMPT)
    before = file.read_bytes()
    run(capfd, *args, "-p", PROMPT + " then", "--prompt-cache-ro")
    assert file.read_bytes() == before


def test_another_models_file_is_refused_and_stays(
    capfd: pytest.CaptureFixture[str], tiny_llama: Path, tmp_path: Path, file: Path
) -> None:
    write_model("qwen3", tmp_path / "qwen3.gguf")
    run(capfd, tiny_llama, "-p", PROMPT, "-n", 1, "--prompt-cache", file)
    before = file.read_bytes()
    code, told = fail(capfd, tmp_path / "qwen3.gguf", "-p", PROMPT, "--prompt-cache", file)
    assert code == 1
    assert "expected a state of this model" in told
    assert file.read_bytes() == before


def test_a_file_that_is_not_there_cannot_be_read_alone(
    capfd: pytest.CaptureFixture[str], tiny_llama: Path, file: Path
) -> None:
    args = (tiny_llama, "-p", PROMPT, "--prompt-cache", file, "--prompt-cache-ro")
    code, told = fail(capfd, *args)
    assert code == 2
    assert "expected a file to read" in told


def test_a_folder_that_is_not_there_is_named(
    capfd: pytest.CaptureFixture[str], tiny_llama: Path, tmp_path: Path
) -> None:
    missing = tmp_path / "none" / "file"
    code, told = fail(capfd, tiny_llama, "-p", PROMPT, "-n", 1, "--prompt-cache", missing)
    assert code == 2
    assert f"--prompt-cache {missing}: No such file or directory" in told


def test_a_chat_has_other_means(
    capfd: pytest.CaptureFixture[str], tiny_llama: Path, file: Path
) -> None:
    code, told = fail(capfd, tiny_llama, "-cnv", "-p", PROMPT, "--prompt-cache", file)
    assert code == 2
    assert "a chat has /save" in told
