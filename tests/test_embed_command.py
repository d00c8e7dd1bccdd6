"""`gguf-run embed`: a JSON array a line."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from encoders import write_encoder

from gguf_run import Model, cli

TEXTS = ("the cat", "a dog and the")


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "bert.gguf"
    write_encoder("bert", path)
    return path


def run(capfd: pytest.CaptureFixture[str], *args: object) -> tuple[object, str, str]:
    """Exit code, stdout and stderr."""
    with pytest.raises(SystemExit) as end:
        cli.main([*map(str, args), "--device", "cpu"])
    return (end.value.code, *capfd.readouterr())


def rows(text: str) -> np.ndarray:
    return np.array([json.loads(line) for line in text.splitlines()], np.float32)


def test_each_text_gives_a_line(capfd: pytest.CaptureFixture[str], bert: Path) -> None:
    code, out, _ = run(capfd, "embed", bert, *TEXTS)
    assert code == 0
    with Model(bert, "cpu") as model:
        np.testing.assert_array_equal(rows(out), model.embed(TEXTS))


def test_an_option_may_name_the_model(capfd: pytest.CaptureFixture[str], bert: Path) -> None:
    assert run(capfd, "embed", "-m", bert, *TEXTS) == run(capfd, "embed", bert, *TEXTS)


def test_lines_of_standard_input_are_texts(
    capfd: pytest.CaptureFixture[str], bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = run(capfd, "embed", bert, *TEXTS)
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(TEXTS) + "\n"))
    assert run(capfd, "embed", bert) == expected


def test_pooling_and_lengths_are_options(capfd: pytest.CaptureFixture[str], bert: Path) -> None:
    _, out, _ = run(capfd, "embed", bert, TEXTS[0], "--pooling", "none", "--no-normalize")
    with Model(bert, "cpu") as model:
        expected = model.embed(TEXTS[0], "none", normalize=False)
    np.testing.assert_array_equal(rows(out), expected)


def test_a_model_of_embeddings_that_shall_write_names_this_command(
    capfd: pytest.CaptureFixture[str], bert: Path
) -> None:
    code, out, err = run(capfd, bert, "-p", "the cat")
    assert (code, out) == (1, "")
    assert "use Model.embed, or gguf-run embed MODEL TEXT" in err


def test_a_terminal_is_asked_for_a_text(
    capfd: pytest.CaptureFixture[str], bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    code, _, err = run(capfd, "embed", bert)
    assert code == 2
    assert "expected a text" in err
