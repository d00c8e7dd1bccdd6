"""A chat in a terminal, typed by a script, and one through pipes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pexpect = pytest.importorskip("pexpect", reason="terminals are scripted with pexpect")

ARGS = ("--device", "cpu", "-c", "512", "-s", "1", "--ignore-eos")
READY = r"\x1b\[\?2004h"
"""The prompt has come: it asks for pasted text to be marked as such."""
END_OF_INPUT = "\x04"
Start = Callable[..., "pexpect.spawn[str]"]


def environment(tmp_path: Path) -> dict[str, str]:
    return os.environ | {
        "TERM": "xterm-256color",
        "XDG_STATE_HOME": str(tmp_path),
        "PROMPT_TOOLKIT_NO_CPR": "1",
        "PYTHONUNBUFFERED": "1",
    }


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts the program at a terminal."""
    children = []

    def _start(*args: object, **variables: str) -> pexpect.spawn[str]:
        child = pexpect.spawn(
            sys.executable,
            ["-m", "gguf_run.cli", *map(str, [args[0], *ARGS, *args[1:]])],
            env=environment(tmp_path) | variables,
            encoding="utf-8",
            timeout=180,
            dimensions=(24, 100),
        )
        children.append(child)
        return child

    yield _start
    for child in children:
        child.close(force=True)


def say(child: pexpect.spawn[str], keys: str) -> None:
    """Types once the prompt has come: the terminal drops what it gets while its mode changes."""
    child.expect(READY)
    child.send(keys)


def end(child: pexpect.spawn[str]) -> int:
    """The exit code, or the negative number of the signal that ended it."""
    child.expect(pexpect.EOF)
    # Before `close`, which sends signals to a process that has only closed its terminal yet.
    child.wait()
    return -child.signalstatus if child.exitstatus is None else child.exitstatus


def piped(*args: object, stdin: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gguf_run.cli", *map(str, args), *ARGS]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=300)


def test_a_terminal_session(start: Start, tiny_chat: Path, tmp_path: Path) -> None:
    child = start("chat", tiny_chat, "-n", 8, "-sys", "be")
    child.expect("tiny on .*; /help lists commands")
    say(child, "the an\r")
    child.expect(r"stopped after 8 tokens \(-n\)")
    say(child, "/stats\r")
    child.expect(r"prompt \d+ tokens, .* generation 8 tokens.*context \d+ of 512")
    say(child, "and\r")
    child.expect("stopped after 8 tokens")
    say(child, "/stats\r")
    child.expect(r"prompt \d+ tokens \((\d+) of them kept\)")
    assert int(child.match[1]) > 20
    say(child, "/regen\r")
    child.expect("stopped after 8 tokens")
    say(child, f"/save {tmp_path}/chat.json\r")
    child.expect("saved to")
    say(child, "/reset\r")
    child.expect("begins anew")
    say(child, f"/load {tmp_path}/chat.json\r")
    child.expect("5 messages from")
    say(child, "/system in\r")
    child.expect("system message: in")
    say(child, "/help\r")
    child.expect("/regen +take the last answer back")
    say(child, "/system\x1b\rbe short\r")
    child.expect("system message: be short")
    say(child, "/exit\r")
    assert end(child) == 0
    assert "the an" in (tmp_path / "gguf-run" / "chat_history").read_text()


def test_what_goes_wrong_is_said_and_the_chat_goes_on(start: Start, tiny_chat: Path) -> None:
    child = start("chat", tiny_chat, "-n", 4, "-c", 64)
    say(child, "/rest\r")
    child.expect("expected a command, found /rest; did you mean /reset?")
    say(child, "/save\r")
    child.expect("expected a file: /save FILE")
    say(child, "/load none.json\r")
    child.expect("error: .*none.json")
    say(child, "/regen\r")
    child.expect("none yet")
    say(child, "the " * 80 + "\r")
    child.expect("leaves no room in the context of 64")
    say(child, "the\r")
    child.expect("stopped after 4 tokens")
    say(child, END_OF_INPUT)
    assert end(child) == 0


def test_ctrl_c_stops_the_answer_and_not_the_program(start: Start, tiny_chat: Path) -> None:
    child = start("chat", tiny_chat, "-c", 100000)
    say(child, "the\r")
    child.expect(r"\x1b\[\?2004l.{20}")
    child.sendintr()
    say(child, "/stats\r")
    child.expect("generation")
    say(child, "\x03")
    child.expect("Ctrl-C again, or /exit, ends the chat")
    say(child, "\x03")
    assert end(child) == 0


def test_ctrl_c_takes_back_what_was_typed(start: Start, tiny_chat: Path) -> None:
    child = start("chat", tiny_chat)
    say(child, "the an\x03/system\r")
    child.expect("system message: none")
    say(child, END_OF_INPUT)
    assert end(child) == 0


def test_ctrl_c_before_the_answer_takes_the_message_back(
    start: Start, tiny_chat: Path, tmp_path: Path
) -> None:
    (tmp_path / "long.txt").write_text("the an in " * 100_000)
    child = start("chat", tiny_chat, "-c", 400_000, "-b", 64, "-sysf", tmp_path / "long.txt")
    say(child, "the\r")
    child.expect(r"\x1b\[\?2004l")
    while not child.getecho():
        """Until then the terminal takes Ctrl-C for a key."""
    child.sendintr()
    say(child, "/stats\r")
    child.expect("no answer yet")
    say(child, "/regen\r")
    child.expect("expected a message to answer, found none yet")
    say(child, "/bye\r")
    assert end(child) == 0


def test_a_terminal_without_escape_codes_gets_none(
    start: Start, tiny_chat: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = start("chat", tiny_chat, "-n", 2, TERM="dumb")
    child.expect("> ")
    child.send("the\r")
    child.expect("\r\nstopped after 2 tokens[^\x1b]*\r\n> ")
    child.send("/quit\r")
    assert end(child) == 0


def test_no_color_is_no_colour(start: Start, tiny_chat: Path) -> None:
    child = start("chat", tiny_chat, "-n", 2, "-p", "the", "-st", NO_COLOR="1")
    child.expect("\r\nstopped after 2 tokens")
    assert end(child) == 0


def test_messages_of_several_lines(start: Start, tiny_chat: Path, tmp_path: Path) -> None:
    child = start("chat", tiny_chat, "-n", 2)
    say(child, "one\\\rtwo\x1b\rthree\r")
    child.expect("stopped after 2 tokens")
    say(child, f"/save {tmp_path}/chat.json\r")
    child.expect("saved")
    say(child, "/exit\r")
    end(child)
    assert '"one\\ntwo\\nthree"' in (tmp_path / "chat.json").read_text()


def test_a_terminal_may_change_its_size(start: Start, tiny_chat: Path) -> None:
    child = start("chat", tiny_chat, "-n", 4)
    say(child, "the an")
    child.setwinsize(40, 30)
    child.send("d the in\r")
    child.expect("stopped after 4 tokens")
    child.setwinsize(10, 200)
    say(child, "/exit\r")
    assert end(child) == 0


def test_a_model_made_for_chats_chats_without_being_told(start: Start, tiny_chat: Path) -> None:
    child = start(tiny_chat, "-n", 3)
    child.expect("/help lists commands")
    say(child, "the\r")
    child.expect("stopped after 3 tokens")
    say(child, "/exit\r")
    assert end(child) == 0


def test_a_text_at_a_terminal_ends_with_its_line(tiny_llama: Path) -> None:
    command = '"$0" -m gguf_run.cli "$1" -p the -n 2 --device cpu 2>"$2"'
    log = tiny_llama.with_suffix(".log")
    child = pexpect.spawn(
        "sh", ["-c", command, sys.executable, str(tiny_llama), str(log)], encoding="utf-8"
    )
    child.expect("the.*\r\n", timeout=180)
    assert end(child) == 0
    assert log.read_text().startswith("load")


@pytest.mark.parametrize("args", [[], ["-no-cnv"]])
def test_another_wants_a_prompt(
    start: Start, tiny_chat: Path, tiny_llama: Path, args: list[str]
) -> None:
    child = start(tiny_chat if args else tiny_llama, *args)
    child.expect("expected a prompt: -p TEXT")
    assert end(child) == 2


def test_piped_lines_are_messages(tiny_chat: Path) -> None:
    done = piped("chat", tiny_chat, "-n", 5, stdin="the\nand\\\nin\n/stats\n")
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) >= 2
    assert "\x1b" not in done.stdout + done.stderr
    assert "of them kept" in done.stderr


def test_a_chat_saved_with_its_cache_goes_on_where_it_was(tiny_chat: Path, tmp_path: Path) -> None:
    saved = tmp_path / "chat.state"
    args = ("chat", tiny_chat, "-n", 5)
    piped(*args, stdin=f"the an\n/save --cache {saved}\n")
    done = piped(*args, stdin=f"/load {saved}\nand\n/stats\n")
    assert f"2 messages from {saved}" in done.stderr
    assert "of them kept" in done.stderr


def test_a_single_turn_answers_the_prompt_and_ends(tiny_chat: Path) -> None:
    args = ("-cnv", "-st", "-p", "the", "-n", 5)
    first = piped(tiny_chat, *args, stdin="never read\n")
    again = piped("chat", tiny_chat, "-st", "-n", 5, stdin="the\nnever read\n")
    assert first.returncode == 0
    assert first.stdout == again.stdout


@pytest.fixture
def thinking(tmp_path: Path) -> tuple[object, ...]:
    """Options for an answer `ok` behind a few tokens of reasoning."""
    (tmp_path / "t.jinja").write_text("{{ messages[0].content }}<think>\n{# </think> #}")
    budget = ("--reasoning-budget", 4, "--regex", "ok", "-s", 1)
    return "-st", "--chat-template", tmp_path / "t.jinja", *budget


def test_reasoning_is_no_part_of_the_text(tiny_chat: Path, thinking: tuple[object, ...]) -> None:
    done = piped("chat", tiny_chat, *thinking, stdin="the\n")
    assert done.stdout == "ok\n"
    assert done.stderr.endswith("\n\n")
    assert done.stderr.strip()


def test_reasoning_is_dimmed_in_a_terminal(
    start: Start, tiny_chat: Path, thinking: tuple[object, ...]
) -> None:
    child = start("chat", tiny_chat, *thinking, "-p", "the")
    child.expect(r"\x1b\[2m.*\x1b\[0m\r\n\r\n.*ok")
    assert end(child) == 0


def test_an_answer_of_no_tokens_is_empty(tiny_chat: Path) -> None:
    done = piped("chat", tiny_chat, "-n", 0, stdin="the\n/stats\n")
    assert (done.returncode, done.stdout) == (0, "\n")
    assert "generation 0 tokens" in done.stderr
    assert "taken back" not in done.stderr


def test_an_error_ends_a_piped_chat(tiny_chat: Path) -> None:
    done = piped("chat", tiny_chat, stdin="/nothing\nthe\n")
    assert (done.returncode, done.stdout) == (1, "")
    assert "found /nothing" in done.stderr


def test_a_prompt_with_a_chat_model_is_continued_unless_told(tiny_chat: Path) -> None:
    done = piped(tiny_chat, "-p", "the", "-n", 3, stdin="")
    assert done.stdout.startswith("the")


def test_templates_may_be_named_or_read(tiny_chat: Path, tmp_path: Path) -> None:
    (tmp_path / "t.jinja").write_text("{{ messages[0].content }} and {{ messages[-1].content }}")
    args = ("chat", tiny_chat, "-n", 1, "-st", "-sys", "the")
    written = (tmp_path / "t.jinja").read_text()
    by_name, by_file, inline = (
        piped(*args, option, value, stdin="in\n")
        for option, value in (
            ("--chat-template", tmp_path / "t.jinja"),
            ("--chat-template-file", tmp_path / "t.jinja"),
            ("--chat-template", written),
        )
    )
    assert by_name.returncode == 0, by_name.stderr
    assert by_name.stdout == by_file.stdout == inline.stdout
    wrong = piped(*args, "--chat-template", "chatmll", stdin="in\n")
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert "did you mean 'chatml'?" in wrong.stderr


@pytest.mark.parametrize("option", [["-sys", "x"], ["-st"], ["--reasoning-budget", "-1"]])
def test_options_of_chats_are_refused_elsewhere(tiny_chat: Path, option: list[str]) -> None:
    done = piped(tiny_chat, "-p", "the", *option, stdin="")
    assert done.returncode == 2
    assert f"{option[0]} is for chats: add -cnv" in done.stderr


def test_what_the_template_reads_may_be_given(tiny_chat: Path, tmp_path: Path) -> None:
    (tmp_path / "t.jinja").write_text("{{ messages[0].content }} {{ tone }} {{ enable_thinking }}")
    (tmp_path / "system.txt").write_text("the\n")
    args = ("chat", tiny_chat, "-n", 3, "-st", "--chat-template", tmp_path / "t.jinja")
    extra = ("--chat-template-kwargs", '{"tone": "an", "enable_thinking": 1}')
    texts = [
        piped(*args, *more, stdin="in\n").stdout
        for more in (
            ("-sys", "the", *extra),
            ("-sysf", tmp_path / "system.txt", *extra),
            ("-sys", "the"),
        )
    ]
    assert texts[0] == texts[1] != texts[2]


def test_without_reasoning_the_template_is_told_so(tiny_chat: Path) -> None:
    args = ("chat", tiny_chat, "-n", 5, "-st", "-v")
    plain = piped(*args, stdin="the\n").stdout
    none = piped(*args, "--reasoning-budget", 0, stdin="the\n").stdout
    assert plain != none


def test_reasoning_ends_with_its_budget(tiny_chat: Path, thinking: tuple[object, ...]) -> None:
    short, long = (
        piped("chat", tiny_chat, *thinking, "--reasoning-budget", n, stdin="the\n").stderr
        for n in (2, 40)
    )
    assert len(short) < len(long)
