"""The examples of the documentation run, and print what they say."""

from __future__ import annotations

import contextlib
import io
import re
import runpy
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from gguf_run import Model

ROOT = Path(__file__).resolve().parents[1]
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
_EXAMPLE = re.compile(r"```python\n(.*?)```\n(?:\n```text\n(.*?)```)?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Example:
    """A block of Python, and what it prints where that is said."""

    name: str
    code: str
    output: str | None


def examples(path: Path) -> list[Example]:
    text = path.read_text("utf-8")
    found = []
    for match in _EXAMPLE.finditer(text):
        heading = _HEADING.findall(text[: match.start()])[-1]
        found.append(Example(f"{path.stem}: {heading}", match[1], match[2]))
    return found


EXAMPLES = [*examples(ROOT / "docs" / "cookbook.md"), *examples(ROOT / "README.md")]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_an_example_runs_and_prints_what_it_says(
    example: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "models").mkdir()
    shutil.copy(ROOT / "models" / "demo.gguf", tmp_path / "models" / "demo.gguf")
    shutil.copy(ROOT / "models" / "demo.gguf", tmp_path / "model.gguf")
    (tmp_path / "README.md").write_text("no model")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Model.__init__, "__defaults__", ("cpu",))
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(example.code, example.name, "exec"), {"__name__": "__main__"})
    assert printed.getvalue()
    if example.output is not None:
        assert printed.getvalue() == example.output


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 12


def test_the_page_of_commands_is_what_the_commands_say() -> None:
    script = ROOT / ".ci" / "manual.py"
    written = runpy.run_path(str(script))["manual"]()
    page = (ROOT / "docs" / "commands.md").read_text("utf-8")
    assert page == written, f"write it anew: python {script.relative_to(ROOT)} > docs/commands.md"
