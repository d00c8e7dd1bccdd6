"""Samplers that keep the likelier candidates and drop the rest."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from gguf_run.sampling.candidates import F32, Candidates, entropy, log, running_sum
from gguf_run.sampling.sampler import Sampler

# How many of the likeliest top-p sorts first: a nucleus is nearly always smaller than this.
_NUCLEUS_GUESS = 256


class TopK(Sampler):
    """Keep the k highest logits, sorted.

    Source: A. Fan et al., "Hierarchical Neural Story Generation" (2018).
    """

    keeps_best: ClassVar[bool] = True

    def __init__(self, k: int) -> None:
        self._k = k

    def apply(self, candidates: Candidates) -> None:
        candidates.keep_best(self._k)


class TopP(Sampler):
    """Keep the smallest set of likeliest candidates whose probabilities sum to at least p, sorted.

    Source: A. Holtzman et al., "The Curious Case of Neural Text Degeneration" (2019).
    """

    keeps_best: ClassVar[bool] = True

    def __init__(self, p: float, min_keep: int) -> None:
        self._p = np.float32(p)
        self._min_keep = min_keep

    def apply(self, candidates: Candidates) -> None:
        candidates.softmax()
        if not candidates.is_sorted and len(candidates) > _NUCLEUS_GUESS:
            head = candidates.best(_NUCLEUS_GUESS)
            count = self._count(candidates.probs[head])
            if count is not None:
                candidates.take(head[:count])
                candidates.is_sorted = True
                return
        candidates.sort()
        candidates.take(slice(self._count(candidates.probs)))

    def _count(self, probs: F32) -> int | None:
        return _count_until(running_sum(probs) >= self._p, self._min_keep)


class Typical(Sampler):
    """Keep the candidates whose surprise is nearest to the entropy H, until they sum to over p.

    They are left in the order of |-ln p_i - H|, so the likeliest may come late, or be gone.
    A candidate of probability 0 adds nothing to H and comes last.

    Source: C. Meister et al., "Locally Typical Sampling" (2022).
    """

    def __init__(self, p: float, min_keep: int) -> None:
        self._p = np.float32(p)
        self._min_keep = min_keep

    def apply(self, candidates: Candidates) -> None:
        candidates.sort()
        candidates.softmax()
        probs = candidates.probs
        order = np.argsort(np.abs(-log(probs) - entropy(probs)), kind="stable")
        reached = running_sum(probs[order]) > self._p
        candidates.take(order[: _count_until(reached, self._min_keep)])
        candidates.is_sorted = False


class MinP(Sampler):
    """Keep the candidates with a probability of at least p times the highest: logit >= max + ln p.

    Source: Nguyen Nhat Minh et al., "Turning Up the Heat: Min-p Sampling" (2024).
    """

    keeps_best: ClassVar[bool] = True

    def __init__(self, p: float, min_keep: int) -> None:
        self._log_p = log(np.array([p], np.float32))[0]
        self._min_keep = min_keep

    def apply(self, candidates: Candidates) -> None:
        likely = candidates.logits >= candidates.max_logit() + self._log_p
        if np.count_nonzero(likely) >= self._min_keep:
            candidates.take(np.flatnonzero(likely))
        else:
            candidates.keep_best(self._min_keep)


class TopNSigma(Sampler):
    """Rule out (logit = -inf) what lies more than n standard deviations below the highest logit.

    Mean and deviation are those of all candidates not ruled out before.

    Source: C. Tang et al., "Top-n-sigma: Not All Logits Are You Need" (2024).
    """

    keeps_best: ClassVar[bool] = True

    def __init__(self, n: float) -> None:
        self._n = np.float32(n)

    def apply(self, candidates: Candidates) -> None:
        if len(candidates) <= 1:
            return
        highest = candidates.max_logit()
        logits = candidates.logits
        some = logits[logits != -np.inf]
        count = np.float32(len(some))
        mean = running_sum(some)[-1] / count
        deviation = np.sqrt(running_sum((some - mean) ** 2)[-1] / count)
        logits[logits < highest - self._n * deviation] = -np.inf


def _count_until(reached: NDArray[np.bool_], at_least: int) -> int | None:
    """How many come up to the first true one, but no fewer than `at_least`; None if none is."""
    start = max(at_least - 1, 0)
    first = np.flatnonzero(reached[start:])
    return start + int(first[0]) + 1 if len(first) else None
