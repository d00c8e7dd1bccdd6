"""Samplers that add to, or take from, the logits of named tokens."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence

import numpy as np

from gguf_run.sampling.candidates import Candidates
from gguf_run.sampling.sampler import Sampler


class LogitBias(Sampler):
    """logit += bias, for each token of a table; -inf rules a token out.

    Source: the `logit_bias` parameter of OpenAI's completion API.
    """

    def __init__(self, bias: Mapping[int, float]) -> None:
        self._tokens = np.array(sorted(bias), np.int64)
        self._bias = np.array([bias[token] for token in sorted(bias)], np.float32)

    def apply(self, candidates: Candidates) -> None:
        position, place = candidates.find(self._tokens)
        candidates.logits[position] += self._bias[place]


class Penalties(Sampler):
    """Make tokens of the last `last_n` (all of the text where it is negative) less likely.

    With c > 0 the token's count among them: logit = logit / repeat where logit > 0, else logit *
    repeat; then logit -= c * frequency + presence.

    Source: N. S. Keskar et al., "CTRL" (2019), section 4.1, for the repeat penalty (which divides
    only: multiplying a negative logit is the usual repair); OpenAI's API for frequency and
    presence.
    """

    def __init__(self, last_n: int, repeat: float, frequency: float, presence: float) -> None:
        self._repeat = np.float32(repeat)
        self._frequency = np.float32(frequency)
        self._presence = np.float32(presence)
        self._recent: deque[int] = deque(maxlen=None if last_n < 0 else last_n)

    def apply(self, candidates: Candidates) -> None:
        counts = Counter(self._recent)
        tokens = np.array(sorted(counts), np.int64)
        position, place = candidates.find(tokens)
        count = np.array([counts[token] for token in tokens[place].tolist()], np.float32)
        logits = candidates.logits[position]
        logits = np.where(logits <= 0, logits * self._repeat, logits / self._repeat)
        candidates.logits[position] = logits - (count * self._frequency + self._presence)
        candidates.is_sorted = False

    @property
    def recent(self) -> Sequence[int]:
        """The last `last_n` tokens, the oldest first."""
        return self._recent

    def accept(self, token: int) -> None:
        self._recent.append(token)

    def reset(self) -> None:
        self._recent.clear()

    def _unshare(self) -> None:
        self._recent = self._recent.copy()
