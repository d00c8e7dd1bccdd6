"""What a chat template may spend: time, steps, memory and text, counted while it renders."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

MAX_INT = 1 << 64
"""Integers that a template computes stay below this: greater ones have no use in a text, take
memory without bound, and can be chosen so that hash tables degrade."""


class LimitError(Exception):
    """A template asks for more than `Limits` grants."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one rendering; of the inputs' characters some are granted on top.

    Of 70 templates that models come with, the longest has 17,000 characters; for 102 messages of
    1,000 characters none took more than 11,400 steps, 10 MiB and 51 ms (on a shared machine).

    Attributes:
        seconds: of wall-clock time.
        steps: operations: a turn of a loop, a call, a filter, an output.
        made_bytes: memory of all values made, those given up again included.
        text_chars: length of one text, the output among them.
        nodes: values inside of one list or mapping that is compared, sorted, printed or hashed;
            items of one list made.
        depth: calls of macros and recursive loops inside one another.
        source_chars: length of the template.
    """

    seconds: float = 5.0
    steps: int = 2_000_000
    made_bytes: int = 128 << 20
    text_chars: int = 8 << 20
    nodes: int = 200_000
    depth: int = 64
    source_chars: int = 128 << 10


class Meter:
    """Counts what one rendering spends; every method raises `LimitError` beyond a limit."""

    def __init__(self, limits: Limits, n_input: int = 0) -> None:
        """Args: n_input: characters and values of the messages, tools and so on."""
        self._limits = limits
        self._steps = 0
        self._made = 0
        self._depth = 0
        self._max_steps = limits.steps + 16 * n_input
        self._max_made = limits.made_bytes + 64 * n_input
        self._max_nodes = limits.nodes + n_input
        self.max_chars = limits.text_chars + 8 * n_input
        self._end = time.monotonic() + limits.seconds

    def step(self, n: int = 1) -> None:
        """Count `n` operations, and look at the clock."""
        self._steps += n
        if self._steps > self._max_steps:
            raise LimitError(f"takes more than {self._max_steps} steps")
        if time.monotonic() > self._end:
            raise LimitError(f"takes longer than {self._limits.seconds:g} s")

    def room(self, n_chars: int) -> None:
        """Ask for a text of `n_chars` before it is made."""
        if n_chars > self.max_chars:
            raise LimitError(f"makes a text of {n_chars} characters, more than {self.max_chars}")

    def items(self, n: int) -> None:
        """Ask for a list of `n` items before it is made."""
        if n > self._max_nodes:
            raise LimitError(f"makes a list of {n} items, more than {self._max_nodes}")

    def made(self, value: T) -> T:
        """Count the memory of a value that has been made, without what is inside of it."""
        self.reserve(sys.getsizeof(value))
        return value

    def reserve(self, n_bytes: int) -> None:
        """Count memory."""
        self._made += n_bytes
        if self._made > self._max_made:
            raise LimitError(f"makes values of more than {self._max_made >> 20} MiB")

    def whole(self, value: object) -> tuple[int, int]:
        """Characters and depth of a value with all that is inside of it, parts met twice counted
        twice, as an operation on it would meet them."""
        if isinstance(value, str):
            return len(value), 0
        chars = nodes = deepest = 0
        stack: list[tuple[Iterator[object], int]] = [(iter((value,)), 0)]
        while stack:
            items, depth = stack[-1]
            for item in items:
                nodes += 1
                chars += len(item) if isinstance(item, str) else 1
                if nodes > self._max_nodes or chars > self.max_chars:
                    raise LimitError(
                        f"uses a value with more than {self._max_nodes} parts or "
                        f"{self.max_chars} characters"
                    )
                inside = _inside(item)
                if inside is not None:
                    stack.append((iter(inside), depth + 1))
                    break
            else:
                stack.pop()
                deepest = max(deepest, depth)
        self.step(1 + nodes // 64)
        return chars, deepest

    def enter(self) -> None:
        """A call begins; `leave` ends it."""
        self._depth += 1
        if self._depth > self._limits.depth:
            raise LimitError(f"calls itself more than {self._limits.depth} times deep")

    def leave(self) -> None:
        """A call that `enter` began has ended."""
        self._depth -= 1

    def each(self, items: Iterable[T]) -> Iterator[T]:
        """The same items, a step each."""
        for item in items:
            self.step()
            yield item

    def each_made(self, items: Iterable[T]) -> Iterator[T]:
        """The same items, which are made as they are asked for."""
        for item in items:
            self.step()
            yield self.made(item)


def _inside(item: object) -> Iterable[object] | None:
    if isinstance(item, Mapping):
        return (part for pair in item.items() for part in pair)
    if isinstance(item, (list, tuple, set, frozenset)):
        return item
    return None
