"""Recurrent state beside the KV cache: which rows of the state caches belong to which sequence.

A state holds a whole past and can't be rolled back. So a sequence that goes on after several tokens
at once keeps the row from before and writes to another: it can go back to that length. Steps that
may turn out to be one too many alternate between two rows. All layers share the row numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from gguf_run.errors import ModelError

STATES_PER_SEQUENCE = 3
"""A sequence's own, the one that it can go back to, and another to alternate with."""

ZEROS = -1
"""In place of a row to read: begin with zeros."""


@dataclass(slots=True)
class StatePool:
    """Rows by number, handed out lowest first."""

    n_state: int
    _free: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self._free = list(range(self.n_state - 1, -1, -1))

    @property
    def n_free(self) -> int:
        return len(self._free)

    def take(self) -> int:
        """A free row; `ModelError` when all are in use."""
        if not self._free:
            raise ModelError(
                f"all {self.n_state} recurrent states are in use; close a sequence or raise "
                "n_parallel"
            )
        return self._free.pop()

    def give(self, row: int) -> None:
        self._free.append(row)


@dataclass(slots=True)
class SequenceState:
    """One sequence's state after `length` tokens, and perhaps one after fewer tokens."""

    pool: StatePool
    length: int = 0
    _row: int = field(init=False)
    _kept: tuple[int, int] | None = field(init=False, default=None)
    """Row and length to go back to."""
    _worth_keeping: bool = field(init=False, default=False)
    _spare: int | None = field(init=False, default=None)
    """While steps alternate: the row that the next one writes. From the second one on it holds the
    state before the last token, from the first one where that state is not kept."""

    def __post_init__(self) -> None:
        self._row = self.pool.take()

    def advance(self, n_tok: int) -> tuple[int, int]:
        """Go `n_tok` tokens on -> the rows that the step reads (or `ZEROS`) and writes."""
        read = self._row if self.length else ZEROS
        if self.length and self._worth_keeping:
            self._keep()
        self.length += n_tok
        self._worth_keeping = n_tok > 1
        return read, self._row

    def _keep(self) -> None:
        """Leave the present row as it is and go on in another, if there is one."""
        spare = self._kept[0] if self._kept else self.pool.take() if self.pool.n_free else None
        if spare is not None:
            self._kept, self._row = (self._row, self.length), spare

    @property
    def can_alternate(self) -> bool:
        """Whether there are rows enough for `begin`."""
        return self._n_missing() <= self.pool.n_free

    def _n_missing(self) -> int:
        """Rows that `begin` takes: one, and another where the present one is to be kept."""
        keeps = self.length > 0 and self._worth_keeping
        return 1 + keeps - (keeps and self._kept is not None)

    def begin(self) -> tuple[int, int, int]:
        """Go a token on, the first of many each of which can be taken back until the next -> the
        rows that the step reads (or `ZEROS`), writes, and that the next step writes.

        `rollback` or `end` ends that.
        """
        before, read = self._row, self._row if self.length else ZEROS
        if self.length and self._worth_keeping:
            self._row = self._kept[0] if self._kept else self.pool.take()
            self._kept = before, self.length
            self._spare = self.pool.take()
        else:
            self._row, self._spare = self.pool.take(), before
        self.length += 1
        self._worth_keeping = False
        return read, self._row, self._spare

    def go_on(self) -> None:
        """Go another token on: the step reads the row that the last one has written, and writes the
        spare one, which these two exchange."""
        assert self._spare is not None
        self._row, self._spare = self._spare, self._row
        self.length += 1

    def end(self) -> None:
        """Give the spare row back: no token can be taken back by itself any more."""
        if self._spare is not None:
            self.pool.give(self._spare)
            self._spare = None

    def _take_back(self, n_tok: int) -> None:
        """Go back to `n_tok` tokens if that is one less and alternating has left their state."""
        is_kept = self._kept is not None and self._kept[1] == n_tok
        if self._spare is not None and 0 < n_tok == self.length - 1 and not is_kept:
            self._row, self._spare = self._spare, self._row
            self.length = n_tok

    def rollback(self, n_tok: int) -> int:
        """Go back to `n_tok` tokens or fewer -> how many they are; 0 begins anew."""
        self._take_back(n_tok)
        self.end()
        if self.length <= n_tok:
            return n_tok
        kept, self._kept = self._kept, None
        if kept and kept[1] <= n_tok:
            self.pool.give(self._row)
            self._row, self.length = kept
        else:
            if kept:
                self.pool.give(kept[0])
            self.length = 0
        self._worth_keeping = self.length > 0
        return self.length

    def close(self) -> None:
        """Give the rows back."""
        self.rollback(0)
        self.pool.give(self._row)

    # For a file

    @property
    def rows(self) -> list[int]:
        """The row of the present state, then of the one to go back to, if there is one."""
        return [self._row, *([self._kept[0]] if self._kept else [])]

    @property
    def history(self) -> list[int]:
        """What `resume` needs beside the length: whether the present state is worth keeping, and
        the length to go back to, if there is one."""
        return [int(self._worth_keeping), *([self._kept[1]] if self._kept else [])]

    def resume(self, length: int, history: list[int]) -> bool:
        """Take over, at the beginning, what another state was after `length` tokens; its content
        goes to `rows`. False where there is no such `history`."""
        worth_keeping, *kept = history
        if worth_keeping not in (0, 1) or len(kept) > 1 or not all(0 < n < length for n in kept):
            return False
        self.length, self._worth_keeping = length, bool(worth_keeping)
        self._kept = (self.pool.take(), kept[0]) if kept else None
        return True
