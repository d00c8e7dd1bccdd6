"""The loop of a chat: messages and commands in, answers out."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from gguf_run.answer import Answer
from gguf_run.commands.interrupts import Interrupts
from gguf_run.commands.line_input import Lines
from gguf_run.commands.speeds import speeds
from gguf_run.commands.texts import os_error
from gguf_run.conversation import Conversation
from gguf_run.errors import GGUFRunError, ModelError


class Leave(Exception):
    """The user wants to go."""


class ChatSession:
    """Answers on stdout, everything else on stderr.

    Where the messages are typed, errors are shown and the chat goes on; else they end it.
    """

    def __init__(
        self, talk: Conversation, lines: Lines, options: dict[str, Any], interactive: bool
    ) -> None:
        """Args:
        options: of every answer, as for `Model.chat`.
        interactive: whether somebody types the messages.
        """
        self._talk = talk
        self._lines = lines
        self._options = options
        self._interactive = interactive
        self._last: Answer | None = None
        self._leaving = False

    def run(self, first: str | None = None, single_turn: bool = False) -> None:
        """Chat until the end of the messages, `/exit`, or Ctrl-C twice; `first` is said first."""
        try:
            while not (single_turn and self._last is not None):
                first, given = None, first
                try:
                    self._turn() if given is None else self._try(given)
                except KeyboardInterrupt:
                    # Between a message and its answer; all else is taken care of further in.
                    if not self._interactive:
                        raise
        except (EOFError, Leave):
            pass
        finally:
            self._talk.close()

    def _turn(self) -> None:
        try:
            text = self._lines.read()
        except KeyboardInterrupt:
            if not self._interactive:
                raise
            if self._leaving:
                raise Leave from None
            self._leaving = True
            _note("Ctrl-C again, or /exit, ends the chat")
            return
        self._leaving = False
        if text.strip():
            self._try(text)

    def _try(self, text: str) -> None:
        try:
            if text.startswith("/"):
                self._command(text)
            else:
                self._say(text)
        except (GGUFRunError, OSError) as error:
            if not self._interactive:
                raise
            shown = os_error(error) if isinstance(error, OSError) else error
            click.echo(f"error: {shown}", err=True)
        except KeyboardInterrupt:
            if not self._interactive:
                raise
            _note("stopped")

    def _say(self, text: str) -> None:
        before = len(self._talk.messages)
        try:
            begun = self._show(self._talk.send(text, **self._options))
        except GGUFRunError:
            # Many templates refuse a message that another of the same role follows.
            del self._talk.messages[before:]
            raise
        except KeyboardInterrupt:
            if not self._interactive:
                raise
            begun = False
        if not begun:
            self._last = None
            del self._talk.messages[before:]
            _note("stopped before the answer began: the message is taken back")

    def _show(self, answer: Answer) -> bool:
        """Returns False where it was stopped before it began."""
        self._last = answer
        reasoned = broken_off = False
        interrupts = Interrupts(patient=False)
        try:
            with interrupts:
                for chunk in answer:
                    interrupts.patient = True
                    if chunk.reasoning:
                        click.secho(chunk.reasoning, dim=True, nl=False, err=True)
                        reasoned = True
                    if chunk.text and reasoned:
                        click.echo("\n", err=True)
                        reasoned = False
                    sys.stdout.write(chunk.text)
                    sys.stdout.flush()
                    if interrupts.asked:
                        break
        except KeyboardInterrupt:
            if not self._interactive:
                raise
            broken_off = True
        finally:
            self._talk.end_answer()
            click.echo()
        if not self._interactive and interrupts.asked:
            raise KeyboardInterrupt
        if answer.finish_reason == "length":
            self._explain_length(answer)
        return interrupts.patient or not broken_off

    def _explain_length(self, answer: Answer) -> None:
        n_ctx = self._talk.n_ctx
        used = answer.timings.n_prompt + answer.timings.n_generated
        if used >= n_ctx:
            _note(f"the context of {n_ctx} tokens is full: /reset, or start with a larger -c")
        else:
            _note(f"stopped after {answer.timings.n_generated} tokens (-n)")

    def _command(self, text: str) -> None:
        name, *rest = text.split(maxsplit=1)
        command = COMMANDS.get(_ALIASES.get(name, name))
        if command is None:
            near = difflib.get_close_matches(name, COMMANDS, 1)
            hint = f"did you mean {near[0]}?" if near else "/help lists them"
            raise ModelError(
                f"expected a command, found {name}; {hint} "
                "(a space before the slash makes it a message)"
            )
        command(self, "".join(rest).strip())

    def _reset(self, rest: str) -> None:
        """forget all but the system message"""
        self._talk.reset()
        self._last = None
        _note("the chat begins anew")

    def _system(self, rest: str) -> None:
        """TEXT: set the system message; without TEXT: show it"""
        if rest:
            self._talk.end_answer()
            self._talk.system = rest
        _note(f"system message: {self._talk.system or 'none'}")

    def _regen(self, rest: str) -> None:
        """take the last answer back and have another one"""
        self._show(self._talk.regenerate(**self._options))

    def _save(self, rest: str) -> None:
        """FILE: save the chat; --cache FILE: with what was computed, for /load to go on at once"""
        option, _, file = rest.partition(" ")
        with_cache = option == "--cache"
        path = _file(file.strip() if with_cache else rest, "/save")
        self._talk.save(path, cache=with_cache)
        _note(f"saved to {path}")

    def _load(self, rest: str) -> None:
        """FILE: go on with a saved chat"""
        self._talk.load(_file(rest, "/load"))
        _note(f"{len(self._talk.messages)} messages from {rest}")

    def _stats(self, rest: str) -> None:
        """tokens and speed of the last answer"""
        if self._last is None:
            _note("no answer yet")
            return
        timings = self._last.timings
        used = timings.n_prompt + timings.n_generated
        _note(f"{speeds(timings)} | context {used} of {self._talk.n_ctx}")

    def _help(self, rest: str) -> None:
        """show this"""
        for name, command in COMMANDS.items():
            _note(f"{name:<8} {command.__doc__}")
        _note("Alt-Enter, or a backslash at the end of a line: a new line; Ctrl-C: stop the answer")

    def _exit(self, rest: str) -> None:
        """end the chat"""
        raise Leave


COMMANDS: dict[str, Callable[[ChatSession, str], None]] = {
    "/reset": ChatSession._reset,
    "/system": ChatSession._system,
    "/regen": ChatSession._regen,
    "/save": ChatSession._save,
    "/load": ChatSession._load,
    "/stats": ChatSession._stats,
    "/help": ChatSession._help,
    "/exit": ChatSession._exit,
}


_ALIASES = {"/clear": "/reset", "/bye": "/exit", "/quit": "/exit", "/?": "/help"}
"""What other programs call them."""


def _file(rest: str, command: str) -> Path:
    if not rest:
        raise ModelError(f"expected a file: {command} FILE")
    return Path(rest).expanduser()


def _note(text: str) -> None:
    sys.stdout.flush()
    click.secho(text, dim=True, err=True)
