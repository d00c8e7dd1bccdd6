"""Replies in OpenAI's harmony format: messages in channels, as gpt-oss writes them.

https://cookbook.openai.com/articles/openai-harmony: `<|start|>role to=recipient<|channel|>name
<|constrain|>type<|message|>text`, ended by `<|end|>`, `<|call|>` or `<|return|>`. The channel
`analysis` is reasoning; a recipient is a tool.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Literal

from gguf_run.chat.reply import Delta, MarkScanner, TextOut
from gguf_run.chat.tool_bodies import RawCall, dumps

_START, _MESSAGE = "<|start|>", "<|message|>"
_ENDS = ("<|end|>", "<|call|>", "<|return|>")
_CHANNEL = re.compile(r"<\|channel\|>\s*(\w+)")
_RECIPIENT = re.compile(r"\bto=([^\s<]+)")
_NO_TOOL = ("assistant", "user", "all")


class HarmonyParser:
    """Takes such a reply apart; see `ReplyParser`."""

    def __init__(self, prompt: str, call: Callable[[RawCall], Delta]) -> None:
        """Args: prompt: begins the message that is continued. call: the delta of a call."""
        self._call = call
        self._scanner = MarkScanner()
        self._out = TextOut()
        self._header: str | None = ""
        self._recipient: str | None = None
        self._arguments = ""
        self._said: set[str] = set()
        self._parting: Delta | None = None
        self._n_known = 0
        if _START in prompt:
            self.push(prompt[prompt.rindex(_START) + len(_START) :])
            self._n_known = len(self._header or "")

    def push(self, text: str) -> list[Delta]:
        """What is known now that `text` has come."""
        self._scanner.add(text)
        deltas: list[Delta] = []
        while self._step(deltas):
            pass
        return deltas

    def finish(self) -> list[Delta]:
        """The rest; text that is in no message is content."""
        deltas: list[Delta] = []
        rest = self._scanner.rest()
        if self._header is None:
            self._put(rest, deltas)
            if self._recipient:
                self._end_message(deltas)
        elif "<|" not in self._header:
            self._out.switch("content")
            self._put((self._header + rest)[self._n_known :], deltas)
        return deltas + self._out.end()

    def _step(self, deltas: list[Delta]) -> bool:
        in_header = self._header is not None
        marks = (_MESSAGE, _START, *_ENDS) if in_header else (*_ENDS, _START, "<|channel|>")
        text, mark = self._scanner.cut(marks)
        if self._header is not None:
            self._header += text
            if mark == _MESSAGE:
                self._begin_message(self._header)
            elif mark is not None:
                self._header, self._n_known = "", 0
            return mark is not None
        self._put(text, deltas)
        if mark is None:
            return False
        self._end_message(deltas)
        self._header, self._n_known = ("<|channel|>" if mark == "<|channel|>" else ""), 0
        return True

    def _begin_message(self, header: str) -> None:
        channel = _CHANNEL.search(header)
        recipient = _RECIPIENT.search(header)
        self._header, self._arguments, self._recipient = None, "", None
        if recipient and recipient[1] not in _NO_TOOL:
            self._recipient = recipient[1]
            return
        kind: Literal["content", "reasoning"]
        kind = "reasoning" if channel and channel[1] == "analysis" else "content"
        self._out.switch(kind)
        self._parting = Delta(kind, "\n\n") if kind in self._said else None

    def _put(self, text: str, deltas: list[Delta]) -> None:
        if self._recipient:
            self._arguments += text
            return
        shown = self._out.put(text)
        if shown:
            if self._parting:
                deltas.append(self._parting)
                self._parting = None
            self._said.add(shown[0].kind)
        deltas += shown

    def _end_message(self, deltas: list[Delta]) -> None:
        if not self._recipient:
            self._out.drop_space()
            return
        name, self._recipient = self._recipient.removeprefix("functions."), None
        try:
            value = json.loads(self._arguments)
        except (ValueError, RecursionError):
            value = None
        if isinstance(value, dict):
            deltas.append(self._call(RawCall(name, dumps(value))))
        else:
            self._out.switch("content")
            self._put(self._arguments, deltas)
