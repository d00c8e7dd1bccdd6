"""Replies whose parts stand between marks: `<think>`, `<tool_call>` and the like."""

from __future__ import annotations

import re
from collections.abc import Callable

from gguf_run.chat.forms import ReplyForm
from gguf_run.chat.json_span import JsonSpan
from gguf_run.chat.reply import Delta, MarkScanner, TextOut, overlap
from gguf_run.chat.tool_bodies import RawCall, Types
from gguf_run.chat.tool_syntax import ToolSyntax

_FIRST_KEY = re.compile(r'(?:\[\s*)?(?:\{\s*(?:"(?P<key>[^"]*)(?P<end>")?)?)?')
_SEPARATORS = re.compile(r"\A[\s;]+")
_CALL_KEYS = ("name", "type", "function", "id", "parameters", "arguments")


class _Body:
    """A call that has begun: what has come of it."""

    def __init__(self, opening: str) -> None:
        self.opening = opening
        self.text = ""
        self.span = JsonSpan()

    def add(self, text: str) -> int | None:
        """More of it; the length up to the end of its JSON value, once that has come."""
        self.text += text
        return self.span.feed(text)

    @property
    def inside_json(self) -> bool:
        """Whether all of it so far is the beginning of a JSON value."""
        return self.span.open and self.text.lstrip()[:1] in ("{", "[")


class TaggedParser:
    """Takes such a reply apart; see `ReplyParser`."""

    def __init__(
        self,
        form: ReplyForm,
        syntax: ToolSyntax | None,
        types: Types,
        prompt: str,
        call: Callable[[RawCall], Delta],
    ) -> None:
        """Args: syntax: how calls are written; None: nothing is a call. call: its delta."""
        self._reasoning = form.reasoning
        self._silent = (*form.silent, *(syntax.silent if syntax else ()))
        self._syntax = syntax
        self._types = types
        self._call = call
        self._scanner = MarkScanner()
        self._out = TextOut()
        self._body: _Body | None = None
        self._thinking = False
        self._called = False
        if form.reasoning and prompt.rstrip().endswith(form.reasoning[0]):
            self._think(True)
        # The prompt may begin a mark, as functionary's do.
        self._n_given = max((overlap(prompt, mark) for mark in self._marks()), default=0)
        self._scanner.add(prompt[len(prompt) - self._n_given :])

    def push(self, text: str) -> list[Delta]:
        """What is known now that `text` has come."""
        self._scanner.add(text)
        deltas: list[Delta] = []
        while self._step(deltas):
            pass
        return deltas

    def finish(self) -> list[Delta]:
        """The rest."""
        deltas: list[Delta] = []
        rest = self._scanner.rest()
        if self._body:
            self._body.add(rest)
            self._end_body(self._body, "", deltas)
        else:
            deltas += self._put(rest)
        return deltas + self._out.end()

    def _step(self, deltas: list[Delta]) -> bool:
        """One mark further; False: more has to come first."""
        if self._body and self._syntax:
            return self._step_body(self._body, self._syntax, deltas)
        if self._n_given and not self._settle_given():
            return False
        for begins in (self._begins_thinking, self._begins_bare_call):
            found = begins()
            if found is not False:
                return found is True
        text, mark = self._scanner.cut(self._marks())
        deltas += self._put(text)
        if mark is None:
            return False
        if self._thinking:
            self._think(False)
        elif self._syntax and mark == self._syntax.open:
            self._body = _Body(mark)
        else:
            self._out.drop_space()
            self._n_given = 0
        return True

    def _settle_given(self) -> bool:
        """Whether it is known that the mark that the prompt began goes on; if not, it was none."""
        held, marks = self._scanner.held, self._marks()
        if not any(held.startswith(mark) for mark in marks):
            if any(mark.startswith(held) for mark in marks):
                return False
            self._scanner.add(self._scanner.rest()[self._n_given :])
            self._n_given = 0
        return True

    def _put(self, text: str) -> list[Delta]:
        """Put text out, but for what the prompt has given."""
        n = min(self._n_given, len(text))
        self._n_given -= n
        return self._out.put(text[n:])

    def _marks(self) -> list[str]:
        if self._thinking and self._reasoning:
            return [self._reasoning[1]]
        return [*self._silent, *([self._syntax.open] if self._syntax and self._syntax.open else [])]

    def _think(self, begins: bool) -> None:
        self._thinking = begins
        self._out.switch("reasoning" if begins else "content")

    def _begins_thinking(self) -> bool | None:
        """Whether reasoning begins here; None: not known yet. Amid content its mark is text."""
        if self._reasoning is None or self._thinking or self._out.said:
            return False
        mark = self._reasoning[0]
        text = self._scanner.held.lstrip()
        if not text.startswith(mark):
            return None if text and mark.startswith(text) else False
        self._scanner.rest()
        self._scanner.add(text[len(mark) :])
        self._think(True)
        return True

    def _begins_bare_call(self) -> bool | None:
        """Whether the content begins as JSON that may be a call; None: not known yet."""
        syntax = self._syntax
        if syntax is None or syntax.open or self._thinking or self._out.said:
            return False
        if self._called:
            # What separates calls says nothing.
            self._scanner.add(_SEPARATORS.sub("", self._scanner.rest(), count=1))
        held = self._scanner.held
        text = held.lstrip()
        match = _FIRST_KEY.match(text)
        if match is None or not text:
            return False
        key = match["key"]
        if key is None:
            return None if match.end() == len(text) else False
        if match["end"] is None:
            return None if any(name.startswith(key) for name in _CALL_KEYS) else False
        if key not in _CALL_KEYS:
            return False
        self._scanner.rest()
        self._scanner.add(text)
        self._body = _Body(held[: len(held) - len(text)])
        return True

    def _step_body(self, body: _Body, syntax: ToolSyntax, deltas: list[Delta]) -> bool:
        if not syntax.close:
            end = body.add(self._scanner.rest())
            if end is None:
                return False
            self._scanner.add(body.text[end:])
            body.text = body.text[:end]
            self._end_body(body, "", deltas)
            return True
        text, mark = self._scanner.cut([syntax.close])
        body.add(text)
        if mark is None:
            return False
        if body.inside_json:
            # The mark is part of a string.
            body.add(mark)
        else:
            self._end_body(body, mark, deltas)
        return True

    def _end_body(self, body: _Body, closing: str, deltas: list[Delta]) -> None:
        """The calls that a body says; a body that says none is content."""
        self._body = None
        calls = self._syntax.parse(body.text, self._types) if self._syntax else []
        if not calls:
            deltas += self._put(body.opening + body.text + closing)
            return
        self._called, self._n_given = True, 0
        self._out.switch("content")
        deltas += map(self._call, calls)
