"""Reasoning of bounded length: after so many tokens its end is forced."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Sequence


class ReasoningBudget:
    """Counts the tokens of reasoning in one text, and says what must end it.

    As llama.cpp's `--reasoning-budget` does it (common/reasoning-budget.cpp): tokens between the
    two marks count, a character is never torn, and a second block has a budget of its own.
    """

    def __init__(
        self,
        n: int,
        marks: tuple[str, str],
        prompt: str,
        token_bytes: Callable[[int], bytes],
        end: Sequence[int],
    ) -> None:
        """Args:
        n: tokens.
        marks: around reasoning.
        prompt: what the text goes on from; it may begin the reasoning.
        token_bytes: of any token, control tokens spelt out.
        end: the tokens of the mark that ends it.
        """
        self._n = n
        self._begin, self._end = (mark.encode() for mark in marks)
        self._token_bytes = token_bytes
        self._forced = list(end)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._tail = b""
        self._left: int | None = None
        self._waiting: list[int] = []
        if prompt.rstrip().endswith(marks[0]):
            self._start()

    @property
    def forced(self) -> int | None:
        """The token that must come next."""
        return self._waiting[0] if self._waiting else None

    def accept(self, token: int) -> None:
        """Take note of a token of the text."""
        piece = self._token_bytes(token)
        self._decoder.decode(piece)
        self._tail += piece
        if self._waiting:
            del self._waiting[0]
            if not self._waiting:
                self.stop()
        elif self._left is None:
            if self._begin in self._tail:
                self._start()
        elif self._end in self._tail:
            self.stop()
        else:
            self._left -= 1
            self._force_if_spent()
        self._tail = self._tail[-max(len(self._begin), len(self._end)) + 1 :]

    def stop(self) -> None:
        """This block of reasoning is over."""
        self._left, self._tail, self._waiting = None, b"", []

    def _start(self) -> None:
        self._left, self._tail = self._n, b""
        self._force_if_spent()

    def _force_if_spent(self) -> None:
        in_a_character = bool(self._decoder.getstate()[0])
        if self._left is not None and self._left <= 0 and not in_a_character:
            self._waiting = list(self._forced)
