"""What is imported when: a command's first words must not wait for all of the package."""

from __future__ import annotations

import importlib
import subprocess
import sys
from operator import attrgetter
from pathlib import Path

import pytest
from benchmark_scripts import benchmark_script

import gguf_run
from gguf_run import chat, cli, structured
from gguf_run.cuda import wake


def imported_by(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nprint(*sys.modules)"
    return set(subprocess.check_output([sys.executable, "-c", code], text=True).split())


def test_the_command_line_is_ready_before_anything_slow_is_imported() -> None:
    # From then on Ctrl-C ends the program without a traceback.
    assert not {"numpy", "jinja2", "gguf_run.model"} & imported_by("import gguf_run.cli")


def test_the_package_can_be_run() -> None:
    command = [sys.executable, "-m", "gguf_run", "--version"]
    assert gguf_run.__version__ in subprocess.check_output(command, text=True)


def test_a_run_imports_what_it_needs_and_no_chats() -> None:
    found = imported_by("from gguf_run.cli import find_command; find_command('run')")
    assert "gguf_run.model" in found
    assert not {"jinja2", "gguf_run.conversation", "gguf_run.cuda.ops", "cupy"} & found


@pytest.mark.parametrize("package", [gguf_run, chat, structured], ids=lambda p: p.__name__)
def test_every_public_name_can_be_imported(package: object) -> None:
    for name in package.__all__:  # type: ignore[attr-defined]
        assert getattr(package, name) is not None


def test_a_name_that_is_not_there_is_refused() -> None:
    with pytest.raises(AttributeError, match="'gguf_run' has no attribute 'Modell'"):
        gguf_run.Modell  # type: ignore[attr-defined]  # noqa: B018


def test_waking_a_gpu_says_nothing_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(wake.ctypes, "CDLL", absent)
    wake.wake_gpu.cache_clear()
    thread = wake.wake_gpu()
    thread.join(10)
    assert not thread.is_alive()
    assert wake.wake_gpu() is thread


@pytest.mark.parametrize(
    ("arguments", "woken"),
    [
        (["model.gguf", "-p", "x"], True),
        (["chat", "model.gguf", "--device", "cuda"], True),
        (["model.gguf", "-p", "x", "--device", "cpu"], False),
        (["model.gguf", "-p", "x", "--device=cpu"], False),
        (["run", "--help"], False),
        (["inspect", "model.gguf"], False),
        (["--version"], False),
    ],
)
def test_a_gpu_is_woken_for_what_runs_on_one(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], woken: bool
) -> None:
    calls: list[str] = []
    monkeypatch.setattr(cli, "wake_gpu", lambda: calls.append("woken"))
    monkeypatch.chdir(Path(__file__).parent)
    cli._run(arguments)
    assert bool(calls) == woken


def test_what_a_package_has_is_listed_before_it_is_imported() -> None:
    listed = "import gguf_run, gguf_run.chat; print(*dir(gguf_run), *dir(gguf_run.chat))"
    found = subprocess.check_output([sys.executable, "-c", listed], text=True).split()
    assert {*gguf_run.__all__, *chat.__all__} <= set(found)


def test_the_clock_of_a_start_stands_in_functions_that_there_are() -> None:
    for module, name in benchmark_script("start_time").TIMED:
        assert callable(attrgetter(name)(importlib.import_module(module))), f"{module}.{name}"
