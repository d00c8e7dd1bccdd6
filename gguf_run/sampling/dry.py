"""DRY: don't repeat yourself."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np

from gguf_run.sampling.candidates import Candidates
from gguf_run.sampling.sampler import Sampler

#: Token that begins a sequence breaker (or holds it whole) -> the tokens that may complete it.
Breakers: TypeAlias = Mapping[int, Sequence[tuple[int, ...]]]

_MAX_BREAKER_BYTES = 40
_MAX_TAIL_TOKENS = 20
# ln of the largest float32: base^exponent is kept below it.
_MAX_LOG = np.float32(88.7228391)


class Dry(Sampler):
    """logit -= multiplier * base^(length - allowed_length) where a token prolongs a repetition.

    `length` is that of the longest run of tokens that ends the text and also stands, followed by
    the token, earlier in the last `last_n` (all of them where it is negative). Runs shorter than
    `allowed_length` are free, and no run reaches back over a sequence breaker. A token that is a
    breaker by itself is never penalised.

    Source: p-e-w, "DRY: A modern repetition penalty" (text-generation-webui pull request 5677,
    2024), with pi6am's handling of breakers (KoboldCpp pull request 982).
    """

    def __init__(
        self, multiplier: float, base: float, allowed_length: int, last_n: int, breakers: Breakers
    ) -> None:
        self._multiplier = np.float32(multiplier)
        self._base = np.float32(base)
        self._allowed_length = allowed_length
        self._breakers = breakers
        self._recent: deque[int] = deque(maxlen=None if last_n < 0 else last_n)

    def apply(self, candidates: Candidates) -> None:
        if len(self._recent) <= self._allowed_length:
            return
        latest_first = list(reversed(self._recent))
        limit = self._repeat_limit(latest_first)
        if limit < self._allowed_length:
            return
        lengths = self._prolonging(latest_first, limit)
        tokens = np.array(sorted(lengths), np.int64)
        with np.errstate(over="ignore"):
            penalty = np.array([self._penalty(lengths[t]) for t in tokens.tolist()], np.float32)
        position, place = candidates.find(tokens)
        candidates.logits[position] -= penalty[place]
        candidates.is_sorted = False

    def _repeat_limit(self, latest_first: list[int]) -> int:
        """How many of the latest tokens come after the latest sequence breaker."""
        for i, token in enumerate(latest_first):
            matches = [
                len(tail)
                for tail in self._breakers.get(token, ())
                if len(tail) <= i and list(tail) == latest_first[i - len(tail) : i][::-1]
            ]
            if matches:
                return i - max(matches)
        return len(latest_first)

    def _prolonging(self, latest_first: list[int], limit: int) -> dict[int, int]:
        """Tokens that would prolong a repetition -> the length of the longest that they would."""
        longest: dict[int, int] = {}
        for age, run in enumerate(_prefix_lengths(latest_first)):
            length = min(run, limit)
            if age > 0 and length >= self._allowed_length:
                token = latest_first[age - 1]
                if () not in self._breakers.get(token, ()):
                    longest[token] = max(length, longest.get(token, 0))
        return longest

    def _penalty(self, length: int) -> float:
        exponent = length - self._allowed_length
        if self._base > np.float32(1.000001):
            exponent = min(exponent, int(_MAX_LOG / np.float32(math.log(self._base))))
        return float(self._multiplier) * float(self._base) ** exponent

    def accept(self, token: int) -> None:
        self._recent.append(token)

    def reset(self) -> None:
        self._recent.clear()

    def _unshare(self) -> None:
        self._recent = self._recent.copy()


def _prefix_lengths(items: list[int]) -> list[int]:
    """z[i] = how far items[i:] agrees with items, z[0] = 0: D. Gusfield's Z-algorithm."""
    n = len(items)
    z = [0] * n
    left = right = 0
    for i in range(1, n):
        length = min(right - i, z[i - left]) if i < right else 0
        while i + length < n and items[length] == items[i + length]:
            length += 1
        z[i] = length
        if i + length > right:
            left, right = i, i + length
    return z


def sequence_breakers(
    breakers: Sequence[str], pieces: Sequence[bytes], tokenize: Callable[[str], list[int]]
) -> dict[int, list[tuple[int, ...]]]:
    """What DRY looks for: the tokens a breaker can begin with, and those that complete it.

    pieces: the UTF-8 text of every token by id, special tokens as their own text; tokenize: text
    to ids with nothing added and no special tokens parsed. Breakers are cut at 40 bytes, their
    rest at 20 tokens. An empty breaker is passed over. Scans the vocabulary once a breaker: make
    it once a model.
    """
    table: dict[int, list[tuple[int, ...]]] = {}
    for text in breakers:
        breaker = text.encode(errors="surrogateescape")[:_MAX_BREAKER_BYTES]
        rests = {
            breaker[:n]: tuple(tokenize(breaker[n:].decode(errors="replace"))[:_MAX_TAIL_TOKENS])
            for n in range(1, len(breaker))
        }
        for token, piece in enumerate(pieces):
            if breaker and breaker in piece:
                tails: list[tuple[int, ...]] = [()]
            else:
                tails = [rest for begin, rest in rests.items() if piece.endswith(begin)]
            known = table.setdefault(token, []) if tails else []
            known += [tail for tail in tails if tail not in known]
    return table
