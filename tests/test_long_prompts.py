"""Prompts longer than a step: what is told while they are evaluated, and how long a step is."""

from __future__ import annotations

import io
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
import tqdm
from click.testing import CliRunner

from gguf_run import reference_attention
from gguf_run.cli import cli
from gguf_run.commands import opening
from gguf_run.commands.opening import LoadingBar
from gguf_run.errors import ModelError
from gguf_run.model import Model

Events = list[tuple[str, int, int]]


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def record(events: Events) -> Any:
    return lambda *event: events.append(event)


def test_a_prompt_of_several_steps_tells_how_far_it_is(tiny_llama: Path) -> None:
    events: Events = []
    with Model(tiny_llama, "cpu", n_ctx=32, n_batch=4, progress=record(events)) as model:
        events.clear()
        model.logits([3] * 4)
        assert events == []
        rows = model.logits([3] * 10)
        assert rows.shape[0] == 10
    assert events == [("prompt", done, 10) for done in (0, 4, 8, 10)]


def test_a_prompt_that_fails_ends_what_it_tells(tiny_llama: Path) -> None:
    events: Events = []
    with Model(tiny_llama, "cpu", n_ctx=8, n_batch=4, progress=record(events)) as model:
        events.clear()
        with pytest.raises(ModelError, match="context"):
            model.logits([3] * 9)
    assert events[-1] == ("prompt", 9, 9)


def test_scores_of_long_contexts_are_held_a_few_at_a_time(
    tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = list(range(3, 60))
    with Model(tiny_llama, "cpu", n_ctx=64) as model:
        whole = model.logits(ids)
        monkeypatch.setattr(reference_attention, "MOST_SCORES", 3 * model.hparams.n_head[0] * 64)
        assert np.allclose(model.logits(ids), whole, atol=1e-5)


def test_a_bar_goes_away_once_all_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    bar = LoadingBar()
    bar("prompt", 0, 10)
    bar("prompt", 4, 10)
    assert "prompt:   0%" in terminal.getvalue()
    bar("prompt", 10, 10)
    assert terminal.getvalue().endswith("\r")
    bar("prompt", 0, 20)
    assert "0/20" in terminal.getvalue()


def test_threads_may_tell_of_the_same_thing(monkeypatch: pytest.MonkeyPatch) -> None:
    busy, told = Event(), Event()

    class Slow(tqdm.tqdm):  # type: ignore[type-arg]
        def update(self, n: float | None = 1) -> bool | None:
            busy.set()
            told.wait(0.2)
            return super().update(n)

    monkeypatch.setattr(tqdm, "tqdm", Slow)
    monkeypatch.setattr(sys, "stderr", Terminal())
    bar = LoadingBar()
    with ThreadPoolExecutor(1) as pool:
        loading = pool.submit(bar, "weights", 2, 2)
        busy.wait()
        bar("weights", 2, 2)
        told.set()
        loading.result()


def test_a_bar_that_nobody_sees_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    bar = LoadingBar()
    bar("prompt", 0, 10)
    bar("prompt", 10, 10)
    assert not sys.stderr.getvalue()  # type: ignore[attr-defined]


def test_a_long_prompt_is_written_as_it_is(tiny_llama: Path) -> None:
    args = ("-n", "2", "-b", "3", "--device", "cpu", "-c", "200", "--temp", "0")
    prompt = "the thing and the other thing"
    result = CliRunner().invoke(cli, [str(tiny_llama), "-p", prompt, *args])
    assert result.exit_code == 0
    assert result.stdout.startswith(prompt)
    assert "prompt:" not in result.stderr, "no terminal, no bar"


@pytest.mark.parametrize(
    ("args", "n_batch"),
    [
        ((), None),
        (("-b", "7"), 7),
        (("-ub", "5"), 5),
        (("-b", "7", "-ub", "5"), 5),
        (("-b", "4", "-ub", "5"), 4),
    ],
)
def test_of_both_sizes_of_a_step_the_smaller_one_counts(
    monkeypatch: pytest.MonkeyPatch, args: tuple[str, ...], n_batch: int | None
) -> None:
    seen: list[Any] = []

    def model(*args: Any, **options: Any) -> Any:
        seen.append(options["n_batch"])
        raise ModelError("enough")

    monkeypatch.setattr(opening, "Model", model)
    CliRunner().invoke(cli, ["m.gguf", "-p", "x", *args])
    assert seen == [n_batch]


def test_a_step_is_as_long_as_the_device_likes(tiny_llama: Path) -> None:
    for device, n_batch in (("cpu", 512), ("emulated", 2048)):
        with Model(tiny_llama, device, n_ctx=64) as model:
            assert model.engine.n_batch == n_batch
