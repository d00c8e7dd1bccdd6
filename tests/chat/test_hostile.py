"""Hostile templates are refused, in bounded time and memory."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from chat.hostile import ESCAPES, MEMORY, SOURCES, TIME
from chat.hostile_more import MORE
from gguf_run.chat import ChatTemplate, Limits
from gguf_run.errors import ModelError

MESSAGES = [{"role": "user", "content": "hi"}]
CORPUS = {**ESCAPES, **TIME, **MEMORY, **SOURCES, **MORE}
SECONDS = 8.0
"""Far more than any takes here: machines differ."""
MEGABYTES = 600
"""Of a process that has met all of them; Python and the imports are 100."""


def test_the_corpus_is_as_large_as_it_says() -> None:
    assert len(CORPUS) == sum(map(len, (ESCAPES, TIME, MEMORY, SOURCES, MORE))) > 250


@pytest.mark.parametrize("name", CORPUS)
def test_a_hostile_template_is_refused_in_time(name: str) -> None:
    begin = time.monotonic()
    with pytest.raises(ModelError):
        ChatTemplate(CORPUS[name]).render(MESSAGES)
    assert time.monotonic() - begin < SECONDS


@pytest.mark.parametrize("name", ESCAPES)
def test_what_reaches_for_python_changes_no_message(name: str) -> None:
    messages = [{"role": "user", "content": "hi"}]
    with pytest.raises(ModelError):
        ChatTemplate(ESCAPES[name]).render(messages)
    assert messages == MESSAGES


@pytest.mark.skipif(sys.platform == "win32", reason="has no figure for a process's memory")
def test_hostile_templates_together_take_little_memory() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _ALL], cwd=Path(__file__).parents[2], capture_output=True, text=True
    )
    assert done.stderr == ""
    peak, begin = map(int, done.stdout.split())
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    assert (peak - begin) / unit < MEGABYTES


_ALL = """
import resource, sys
sys.path[:0] = [".", "tests"]
from chat.hostile import MEMORY, SOURCES
from chat.hostile_more import MORE
from gguf_run.chat import ChatTemplate
from gguf_run.errors import ModelError
begin = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for text in {**MEMORY, **SOURCES, **MORE}.values():
    try:
        ChatTemplate(text).render([{"role": "user", "content": "hi"}])
    except ModelError:
        pass
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, begin)
"""


def test_the_clock_stops_a_template_whose_steps_are_few() -> None:
    slow = ChatTemplate(TIME["two loops that compute"], limits=Limits(seconds=0.2, steps=10**9))
    with pytest.raises(ModelError, match=r"line 1: the template was stopped: it takes longer than"):
        slow.render(MESSAGES)


def test_steps_stop_a_template_that_is_fast() -> None:
    busy = ChatTemplate(TIME["two loops"], limits=Limits(seconds=1000, steps=10_000))
    with pytest.raises(ModelError, match=r"it takes more than \d+ steps"):
        busy.render(MESSAGES)


def test_an_error_names_the_line() -> None:
    text = "{# one #}\n{% if messages %}\n  {{ 'x' * 10 ** 12 }}\n{% endif %}"
    with pytest.raises(ModelError, match=r"^my template, line 3: the template was stopped"):
        ChatTemplate(text, name="my template").render(MESSAGES)


def test_long_conversations_are_granted_more() -> None:
    text = "{% for m in messages %}{{ m.content|trim|replace('a', 'bb') }}{% endfor %}"
    long = [{"role": "user", "content": "a" * 1_000_000}] * 20
    assert len(ChatTemplate(text).render(long)) == 40_000_000
