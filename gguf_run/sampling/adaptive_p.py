"""Adaptive-p: prefer tokens of about a target probability."""

from __future__ import annotations

import numpy as np

from gguf_run.sampling.candidates import F32, F64, Candidates
from gguf_run.sampling.rng import Mt19937
from gguf_run.sampling.sampler import Selector
from gguf_run.sampling.selectors import discrete_draw, discrete_running

_WIDTH = np.float32(0.3)
_PEAK = np.float32(5)
_SHARPNESS = np.float32(10)


class AdaptiveP(Selector):
    """Reweigh by the distance from a probability that keeps the average at `target`, and draw.

    The aim is a = clamp(2 * target - average, 0, 1), the average being that of the drawn tokens'
    probabilities before reweighing, weighted by decay^age and started at the target. A candidate
    of probability p gets logit = 5 - 10 d^2 / (1 + d) with d = |p - a| / 0.3. A negative target
    draws from the distribution as it is.

    Source: llama.cpp pull request 17927 (2025).
    """

    def __init__(self, target: float, decay: float, seed: int) -> None:
        self._target = np.float32(target)
        self._decay = np.float32(decay)
        self._seed = seed
        self.reset()

    def reset(self) -> None:
        rest = np.float32(1) - self._decay
        self._weighted_sum = self._target / rest
        self._total_weight = np.float32(1) / rest
        self._pending: tuple[int, np.float32] | None = None
        self._rng = Mt19937(self._seed)

    def weigh(self, candidates: Candidates) -> F64:
        candidates.softmax()
        if self._target >= 0:
            self._original: F32 = candidates.probs
            self._reweigh(candidates)
            candidates.softmax()
        return discrete_running(candidates.probs)

    def _reweigh(self, candidates: Candidates) -> None:
        average = self._weighted_sum / self._total_weight
        aim = min(max(np.float32(2) * self._target - average, np.float32(0)), np.float32(1))
        distance = np.abs((candidates.probs - aim) * (np.float32(1) / _WIDTH))
        logits = _PEAK - _SHARPNESS * distance * distance / (np.float32(1) + distance)
        allowed = candidates.logits != -np.inf
        candidates.logits[allowed] = logits[allowed]

    def draw(self, candidates: Candidates, running: F64) -> int:
        index = discrete_draw(running, self._rng)
        if self._target >= 0:
            self._pending = int(candidates.ids[index]), self._original[index]
        return index

    def accept(self, token: int) -> None:
        if self._pending is not None and self._pending[0] == token:
            self._weighted_sum = self._pending[1] + self._decay * self._weighted_sum
            self._total_weight = np.float32(1) + self._decay * self._total_weight
        self._pending = None

    def _unshare(self) -> None:
        self._rng = self._rng.clone()
