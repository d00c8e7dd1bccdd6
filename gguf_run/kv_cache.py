"""The paged KV cache: which pages of the device's caches belong to which sequence.

A cache tensor holds `n_page` pages of `PAGE_SIZE` slots, one slot a token; all layers share the
page numbers. A sequence's block table lists its pages in the order of its tokens, so position p
lies in slot `table[p // PAGE_SIZE] * PAGE_SIZE + p % PAGE_SIZE`. Pages are counted: sequences that
begin alike share the full pages of what they have in common.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from gguf_run.errors import ModelError
from gguf_run.states import SequenceState

PAGE_SIZE = 64

WINDOW_SLACK = 4 * PAGE_SIZE
"""Tokens kept beyond a window, so that a sequence can go back by so many."""


def window_pages(window: int, n_batch: int, n_ctx: int) -> int:
    """Pages that a sequence needs in layers which see `window` keys, `n_batch` tokens a step; 0
    where these are not fewer than `n_ctx` tokens take."""
    n_page = pages_for(window + WINDOW_SLACK + n_batch) + 1
    return n_page if window > 0 and n_page < pages_for(n_ctx) else 0


def pages_for(n_tok: int) -> int:
    """How many pages hold `n_tok` tokens."""
    return -(-n_tok // PAGE_SIZE)


@dataclass(slots=True)
class PagePool:
    """Pages by number, with the number of sequences that hold each: those given back are handed out
    first, then the lowest. Pages that nobody has asked for take no room here."""

    n_page: int
    _n_touched: int = field(init=False, default=0)
    _given_back: list[int] = field(init=False, default_factory=list)
    _holders: dict[int, int] = field(init=False, default_factory=dict)

    @property
    def n_free(self) -> int:
        return self.n_page - len(self._holders)

    def take(self) -> int:
        """A free page; `ModelError` when all are in use."""
        if not self.n_free:
            raise ModelError(
                f"the KV cache is full: all {self.n_page * PAGE_SIZE} tokens are in use; "
                "raise n_ctx (-c) or close a sequence"
            )
        if self._given_back:
            page = self._given_back.pop()
        else:
            page, self._n_touched = self._n_touched, self._n_touched + 1
        self._holders[page] = 1
        return page

    def share(self, page: int) -> int:
        """Count one more holder of `page`."""
        self._holders[page] += 1
        return page

    def is_shared(self, page: int) -> bool:
        """Whether more than one sequence holds `page`."""
        return self._holders[page] > 1

    def drop(self, page: int) -> None:
        """Count one holder less; the last one frees the page."""
        self._holders[page] -= 1
        if not self._holders[page]:
            del self._holders[page]
            self._given_back.append(page)


@dataclass(slots=True)
class WindowPages:
    """A sequence's pages in the layers that see `window` keys: those still needed, from its page
    number `first` on."""

    pool: PagePool
    window: int
    first: int = 0
    pages: list[int] = field(default_factory=list)

    def needed_from(self, n_tok: int) -> int:
        """The first page that the token after `n_tok` others sees a key in."""
        return max(0, n_tok - self.window + 1) // PAGE_SIZE

    def reserve(self, start: int, stop: int) -> None:
        """Make room for the tokens `start` to `stop`, letting go of what they don't see any more.

        Raises `ModelError` where the pool has too few pages.
        """
        keep = self.needed_from(max(0, start - WINDOW_SLACK))
        while self.pages and self.first < keep:
            self.pool.drop(self.pages.pop(0))
            self.first += 1
        self.extend(stop)

    def extend(self, stop: int) -> None:
        """Take the pages of the tokens up to `stop`; `ModelError` where the pool has too few."""
        while self.first + len(self.pages) < pages_for(stop):
            self.pages.append(self.pool.take())

    def rollback(self, n_tok: int) -> int:
        """Let go of all behind `n_tok` tokens -> how many tokens are left: 0 where some of the keys
        that the next one would see are gone."""
        if self.needed_from(n_tok) < self.first:
            n_tok = 0
        keep = max(0, pages_for(n_tok) - self.first)
        for page in self.pages[keep:]:
            self.pool.drop(page)
        del self.pages[keep:]
        if not n_tok:
            self.first = 0
        return n_tok

    def fork(self, n_page: int) -> WindowPages | None:
        """Shares what the token after `n_page` full pages sees, if all of that is still there."""
        first = self.needed_from(n_page * PAGE_SIZE)
        if first < self.first:
            return None
        shared = self.pages[first - self.first : n_page - self.first]
        return WindowPages(self.pool, self.window, first, [self.pool.share(p) for p in shared])


@dataclass(slots=True)
class Sequence:
    """The tokens whose keys and values are in the cache, and the pages they lie in.

    `state` is the sequence's recurrent state, in models that have one; `window` its pages in layers
    that see a window, where these keep fewer.
    """

    pool: PagePool
    n_ctx: int
    tokens: list[int] = field(default_factory=list)
    pages: list[int] = field(default_factory=list)
    state: SequenceState | None = None
    window: WindowPages | None = None

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def n_left(self) -> int:
        """Tokens that still fit the context."""
        return self.n_ctx - len(self.tokens)

    def append(self, tokens: list[int]) -> np.ndarray:
        """Reserve a slot for each of `tokens` -> slots (n_tok,) int32.

        Raises `ModelError`, changing nothing, where the context or the pool has too little room.
        """
        start, stop = len(self.tokens), len(self.tokens) + len(tokens)
        if stop > self.n_ctx:
            raise ModelError(
                f"{stop} tokens do not fit the context of {self.n_ctx}; raise n_ctx (-c) or "
                "shorten the prompt"
            )
        missing = max(0, pages_for(stop) - len(self.pages))
        if missing > self.pool.n_free:
            raise ModelError(
                f"the KV cache has {self.pool.n_free * PAGE_SIZE} tokens free, and the sequence "
                f"needs {len(tokens)} more; raise n_ctx (-c) or close a sequence"
            )
        if self.window is not None:
            self.window.reserve(start, stop)
        self.pages.extend(self.pool.take() for _ in range(missing))
        self.tokens.extend(tokens)
        return _slots(self.pages, 0, start, stop)

    def window_slots(self, n_tok: int) -> np.ndarray:
        """Slots (n_tok,) int32 of the last `n_tok` tokens in the layers that see a window."""
        assert self.window is not None
        stop = len(self.tokens)
        return _slots(self.window.pages, self.window.first, stop - n_tok, stop)

    def reserve(self, n_tok: int) -> None:
        """Take the pages that `n_tok` tokens need, as far as the context reaches.

        Raises `ModelError` where the pool has too few.
        """
        n_tok = min(n_tok, self.n_ctx)
        while len(self.pages) < pages_for(n_tok):
            self.pages.append(self.pool.take())
        if self.window is not None:
            self.window.extend(n_tok)

    def rollback(self, n_tok: int) -> None:
        """Forget all but the first `n_tok` tokens, or more: a recurrent state goes back to the last
        length that it was kept for, keys that left a window are gone, and a page that a fork shares
        is not written again, so that it goes as a whole."""
        if n_tok < len(self.tokens) and self.pool.is_shared(self.pages[n_tok // PAGE_SIZE]):
            n_tok -= n_tok % PAGE_SIZE
        if self.state is not None:
            n_tok = self.state.rollback(n_tok)
        if self.window is not None:
            n_tok = self.window.rollback(n_tok)
        del self.tokens[n_tok:]
        keep = pages_for(len(self.tokens))
        for page in self.pages[keep:]:
            self.pool.drop(page)
        del self.pages[keep:]

    def fork(self, n_tok: int) -> Sequence:
        """A new sequence that shares the full pages among this one's first `n_tok` tokens.

        Its length says how many tokens it starts with; the caller computes the rest. With a
        recurrent state, or where keys have left a window, it starts with none.
        """
        n_page = min(n_tok, len(self.tokens)) // PAGE_SIZE
        window = None
        if self.state is not None:
            return Sequence(self.pool, self.n_ctx, state=SequenceState(self.state.pool))
        if self.window is not None:
            window = self.window.fork(n_page)
            if window is None:
                empty = WindowPages(self.window.pool, self.window.window)
                return Sequence(self.pool, self.n_ctx, window=empty)
        pages = [self.pool.share(page) for page in self.pages[:n_page]]
        tokens = self.tokens[: n_page * PAGE_SIZE]
        return Sequence(self.pool, self.n_ctx, tokens, pages, window=window)

    def close(self) -> None:
        """Give all pages back."""
        self.rollback(0)
        if self.state is not None:
            self.state.close()


def _slots(pages: list[int], first: int, start: int, stop: int) -> np.ndarray:
    """Slots int32 of the positions `start` to `stop` in `pages`, which begin with page `first`."""
    positions = np.arange(start, stop)
    numbers = np.asarray(pages, np.int32)[positions // PAGE_SIZE - first]
    return (numbers * PAGE_SIZE + positions % PAGE_SIZE).astype(np.int32)
