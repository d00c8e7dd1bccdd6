"""What a model says in a chat, taken apart while it comes: content, reasoning, tool calls."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of a tool.

    Attributes:
        name: of the function.
        arguments: a JSON object, as text.
        id: to tell calls apart; the model's, or made up.
    """

    name: str
    arguments: str
    id: str


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of a reply: some text of the content or the reasoning, or one whole tool call."""

    kind: Literal["content", "reasoning", "tool_call"]
    text: str = ""
    call: ToolCall | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole reply.

    Attributes:
        content: what is said, without reasoning and calls.
        reasoning: what the model thinks before; "" where there is none.
        tool_calls: in the order of the text.
    """

    content: str
    reasoning: str
    tool_calls: Sequence[ToolCall]

    @classmethod
    def of(cls, deltas: Iterable[Delta]) -> Reply:
        """The reply that the pieces make."""
        deltas = list(deltas)
        return cls(
            content="".join(d.text for d in deltas if d.kind == "content"),
            reasoning="".join(d.text for d in deltas if d.kind == "reasoning"),
            tool_calls=tuple(d.call for d in deltas if d.call is not None),
        )


class MarkScanner:
    """Text that comes in pieces, cut at marks; what may be the beginning of a mark is held back."""

    def __init__(self) -> None:
        self._held = ""

    def add(self, text: str) -> None:
        """More text."""
        self._held += text

    def cut(self, marks: Collection[str]) -> tuple[str, str | None]:
        """The text up to the first of the marks, and that mark, or None: no mark is there yet.

        Of marks that begin at the same place the longest counts, also where it has yet to come.
        """
        found = [(at, -len(mark), mark) for mark in marks if (at := self._held.find(mark)) >= 0]
        n = len(self._held) - max((overlap(self._held, mark) for mark in marks), default=0)
        at, _, mark = min(found, default=(len(self._held), 0, None))
        if mark is not None and at < n:
            text, self._held = self._held[:at], self._held[at + len(mark) :]
            return text, mark
        text, self._held = self._held[:n], self._held[n:]
        return text, None

    @property
    def held(self) -> str:
        """What has come and not been cut off."""
        return self._held

    def rest(self) -> str:
        """All that has been held back."""
        text, self._held = self._held, ""
        return text


def overlap(text: str, mark: str) -> int:
    """How many of the last characters of `text` are the first of `mark`."""
    for n in range(min(len(text), len(mark) - 1), 0, -1):
        if text.endswith(mark[:n]):
            return n
    return 0


class TextOut:
    """Puts text of one kind into deltas; whitespace waits until it is known what follows."""

    def __init__(self) -> None:
        self._kind: Literal["content", "reasoning"] = "content"
        self._space = ""
        self._begun = False
        self._keep_leading = True
        self.said = False
        """Whether content has been put out."""

    def switch(self, kind: Literal["content", "reasoning"]) -> None:
        """What follows is of this kind; whitespace around the change is no part of either."""
        self._kind, self._space, self._begun, self._keep_leading = kind, "", False, False

    def drop_space(self) -> None:
        """Whitespace that waits is no part of the text."""
        self._space = ""

    def put(self, text: str) -> list[Delta]:
        """The deltas for some text."""
        text = self._space + text
        if not (self._begun or self._keep_leading):
            text = text.lstrip()
        shown = text.rstrip()
        self._space = text[len(shown) :]
        if not shown:
            return []
        self._begun = True
        self.said = self.said or self._kind == "content"
        return [Delta(self._kind, shown)]

    def end(self) -> list[Delta]:
        """The last delta: whitespace that ends the content belongs to it."""
        if self._kind == "reasoning" or not (self._begun or self._keep_leading):
            return []
        return [Delta("content", self._space)] if self._space else []
