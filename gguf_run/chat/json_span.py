"""Where a JSON value ends in a text that comes in pieces."""

from __future__ import annotations

import re


class JsonSpan:
    """Finds where a JSON object, or list of such, ends in a text that comes in pieces."""

    _START = re.compile(r"\{|\[\s*(?=[\[{\]])")
    _EVENT = re.compile(r'["\\{}\[\]]')

    def __init__(self) -> None:
        self._text = ""
        self._at = 0
        self._depth = 0
        self._begun = False
        self._quoted = False
        self._end: int | None = None

    def feed(self, text: str) -> int | None:
        """The length of all text up to the value's end, once that has come."""
        if self._end is not None:
            return self._end
        self._text += text
        if not self._begun:
            start = self._START.search(self._text)
            if start is None:
                return None
            self._begun, self._at = True, start.start()
        while event := self._EVENT.search(self._text, self._at):
            self._at = event.end()
            char = event.group()
            if char == "\\":
                if self._at == len(self._text):
                    self._at -= 1
                    return None
                self._at += 1
            elif char == '"':
                self._quoted = not self._quoted
            elif not self._quoted:
                self._depth += 1 if char in "{[" else -1
                if self._depth == 0:
                    self._end = self._at
                    return self._end
        self._at = len(self._text)
        return None

    @property
    def open(self) -> bool:
        """Whether a value has begun and not ended."""
        return self._begun and self._end is None
