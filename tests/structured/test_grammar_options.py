"""The command line binds texts."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from grammars import DEMO_MODEL

from gguf_run.cli import main

RUN = [
    str(DEMO_MODEL),
    "-p",
    "Once",
    "-n",
    "60",
    "-s",
    "1",
    "--device",
    "cpu",
    "--no-display-prompt",
]
SCHEMA = '{"type": "array", "items": {"type": "null"}, "minItems": 2, "maxItems": 2}'
GRAMMAR = 'root ::= "x" [0-9]{2}'


def _run(capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main([*RUN, *options])
    written = capsys.readouterr()
    return int(ended.value.code or 0), written.out, written.err


def test_schemas_grammars_and_expressions(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "schema").write_text(SCHEMA)
    (tmp_path / "grammar").write_text(GRAMMAR)
    for option, value in (("-j", SCHEMA), ("--json-schema-file", str(tmp_path / "schema"))):
        code, text, _ = _run(capsys, option, value)
        assert (code, json.loads(text)) == (0, [None, None])
    for option, value in (("--grammar", GRAMMAR), ("--grammar-file", str(tmp_path / "grammar"))):
        code, text, _ = _run(capsys, option, value)
        assert code == 0
        assert re.fullmatch("x[0-9]{2}", text)
    assert _run(capsys, "--regex", "ye{1}s")[1] == "yes"


def test_two_of_them_are_a_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, error = _run(capsys, "--regex", "a", "-j", "{}")
    assert code == 2
    assert "--json-schema and --regex" in error


def test_a_wrong_grammar_is_one_line_with_its_place(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, error = _run(capsys, "--grammar", 'root ::= "a')
    assert code == 1
    assert error.startswith("error: grammar, line 1, column 10: expected")


def test_a_file_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, error = _run(capsys, "--grammar-file", "nowhere.gbnf")
    assert code == 2
    assert "nowhere.gbnf" in error
