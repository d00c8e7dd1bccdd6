"""Parts of a reply in the engine's notation: marks, free text, JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from gguf_run.structured.schema_limits import Schema

_WHITESPACE = r"\x20|\n{1,2}[\x20\t]{0,20}"
"""Between the tokens of JSON at most this, as in llama.cpp: models may else never stop it."""


def json_rule(schema: Schema) -> str:
    """JSON that is valid by a schema."""
    options = {"x-guidance": {"whitespace_pattern": _WHITESPACE}}
    return f"%json {json.dumps({**schema, **options})}"


def literal(text: str) -> str:
    """A text, by its characters' numbers, so that nothing needs to be escaped."""
    return f"/{_numbers(text)}/" if text else '""'


def _numbers(text: str) -> str:
    return "".join(f"\\x{{{ord(char):x}}}" for char in text)


class Spelling:
    """Writes rules; control tokens in marks are those tokens, as no text spells them.

    Attributes:
        lines: the rules that have been written.
    """

    def __init__(self, controls: Mapping[str, int], eog_ids: frozenset[int]) -> None:
        """Args: controls: texts of control tokens -> ids. eog_ids: those that end a reply."""
        self.lines: list[str] = []
        self._controls = controls
        self._eog_ids = eog_ids
        self._names: dict[str, str] = {}
        longest_first = sorted(controls, key=len, reverse=True)
        self._cut = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")

    def rule(self, expr: str, kind: str = "s", attributes: str = "") -> str:
        """The name of a rule (or terminal, by its kind's capital) for an expression."""
        key = f"{attributes}: {expr}"
        if key not in self._names:
            self._names[key] = f"{kind}{len(self._names)}"
            self.lines.append(f"{self._names[key]}{key}")
        return self._names[key]

    def json(self, schema: Schema) -> str:
        """JSON that is valid by a schema."""
        return self.rule(json_rule(schema))

    def mark(self, text: str) -> str:
        """A text of the model's own marks. What ends a reply is left out: nothing may follow it."""
        parts = [
            f"<[{part}]>" if isinstance(part, int) else literal(part)
            for part in self._parts(text)
            if part not in self._eog_ids
        ]
        return " ".join(parts) or '""'

    def text(self, without: Sequence[str] = (), body: str = "(?s:.*)") -> str:
        """Any text (that matches `body`) in which none of some marks stands."""
        return self.rule(self._text(without, body), "X")

    def until(self, mark: str, without: Sequence[str] = (), body: str = "(?s:.*)") -> str:
        """Any text, and the mark that ends it."""
        first, *rest = self._parts(mark) or [""]
        if isinstance(first, int):
            return f"{self.text(without, body)} {self.mark(mark)}"
        suffix = json.dumps(first, ensure_ascii=False)
        ended = self.rule(self._text(without, body), attributes=f"[suffix={suffix}]")
        return " ".join([ended, *([self.mark(mark[len(first) :])] if rest else [])])

    def _text(self, without: Sequence[str], body: str) -> str:
        spelt = [_numbers(mark) for mark in without if mark and mark not in self._controls]
        return f"/{body}/" + (f" & ~/(?s:.*)({'|'.join(spelt)})(?s:.*)/" if spelt else "")

    def _parts(self, text: str) -> list[str | int]:
        """Texts, and ids of control tokens."""
        parts: list[str | int] = []
        at = 0
        for match in self._cut.finditer(text):
            parts += [text[at : match.start()], self._controls[match.group()]]
            at = match.end()
        return [part for part in [*parts, text[at:]] if part != ""]
