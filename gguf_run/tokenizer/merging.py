"""BPE's merges: which neighbours inside a word join, and in which order."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush


class Merges:
    """Merges "left right" by their rank in a file: of equal ones the first counts.

    A pair is looked up by the text that a file writes for it, so that of hundreds of thousands of
    merges nothing but a table has to be made. No part of a word has a space in it: vocabularies
    write spaces otherwise.
    """

    def __init__(self, merges: Sequence[str]) -> None:
        # Of equal keys a dict keeps the last value, so it is made from the end.
        self._ranks = dict(zip(reversed(merges), range(len(merges) - 1, -1, -1), strict=True))

    def apply(self, word: str) -> list[str]:
        """The parts of `word`: beginning with its characters, the pair of the lowest rank joins,
        the leftmost of equals, until no pair does."""
        ranks, parts, end = self._ranks, [*word], len(word)
        # Parts are a linked list; one that has joined another to its left is empty.
        before, behind = list(range(-1, end - 1)), list(range(1, end + 1))
        queue: list[tuple[int, int, str]] = []

        def queue_pair(left: int) -> None:
            pair = f"{parts[left]} {parts[behind[left]]}"
            if pair in ranks:
                heappush(queue, (ranks[pair], left, pair))

        for left in range(end - 1):
            queue_pair(left)
        while queue:
            _, left, pair = heappop(queue)
            right = behind[left]
            if right == end or f"{parts[left]} {parts[right]}" != pair:
                continue  # one of them has joined another meanwhile
            parts[left] += parts[right]
            parts[right] = ""
            behind[left] = after = behind[right]
            if after < end:
                before[after] = left
                queue_pair(left)
            if before[left] >= 0:
                queue_pair(before[left])
        return [part for part in parts if part]
