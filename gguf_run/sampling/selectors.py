"""The last step of an ordinary chain: draw from the distribution, or take the likeliest."""

from __future__ import annotations

import numpy as np

from gguf_run.sampling.candidates import F32, F64, Candidates, exp
from gguf_run.sampling.rng import Mt19937
from gguf_run.sampling.sampler import Selector


class Greedy(Selector):
    """The highest logit, the lowest token id among equals; it is left as the only candidate."""

    def weigh(self, candidates: Candidates) -> F64:
        candidates.max_logit()
        candidates.take(candidates.logits.argmax(axis=0, keepdims=True))
        candidates.probs = np.ones(1, np.float32)
        return np.ones(1)

    def draw(self, candidates: Candidates, running: F64) -> int:
        return 0


class Distribution(Selector):
    """Draw by probability: the first candidate, in their order, at which the sum reaches u * total.

    Weights are float32, their sums float64; one uniform double u is drawn a token, even where one
    candidate is left. Source: inverse transform sampling, as llama.cpp's `dist` does it.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._rng = Mt19937(seed)

    def weigh(self, candidates: Candidates) -> F64:
        weights = exp(candidates.logits - candidates.max_logit())
        running = np.add.accumulate(weights, dtype=np.float64)
        candidates.probs = np.divide(weights, running[-1], dtype=np.float64).astype(np.float32)
        return running

    def draw(self, candidates: Candidates, running: F64) -> int:
        return int(np.searchsorted(running, running[-1] * self._rng.uniform_double()))

    @property
    def rng(self) -> Mt19937:
        """What the next draw comes from; clone it."""
        return self._rng

    def skip(self) -> None:
        self._rng.uniform_double()

    def reset(self) -> None:
        self._rng = Mt19937(self._seed)

    def _unshare(self) -> None:
        self._rng = self._rng.clone()


def discrete_running(probs: F32) -> F64:
    """The running sums std::discrete_distribution searches: in float64, the last one exactly 1."""
    weights = probs.astype(np.float64)
    running: F64 = np.add.accumulate(weights / np.add.accumulate(weights)[-1])
    running[-1] = 1.0
    return running


def discrete_draw(running: F64, rng: Mt19937) -> int:
    """std::discrete_distribution's draw: one uniform double, and none where there is no choice."""
    if len(running) < 2:
        return 0
    return int(np.searchsorted(running, rng.uniform_double()))
