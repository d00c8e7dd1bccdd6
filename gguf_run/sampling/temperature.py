"""Temperature, fixed or set by the entropy at hand."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from gguf_run.sampling.candidates import Candidates, entropy, log
from gguf_run.sampling.sampler import Sampler


class Temperature(Sampler):
    """logit /= T; where T <= 0, all but the highest logit are ruled out.

    Source: D. Ackley, G. Hinton, T. Sejnowski, "A Learning Algorithm for Boltzmann Machines"
    (1985).
    """

    keeps_best: ClassVar[bool] = True

    def __init__(self, temperature: float) -> None:
        self._temperature = np.float32(temperature)

    def apply(self, candidates: Candidates) -> None:
        scale(candidates, self._temperature)


class DynamicTemperature(Sampler):
    """T = low + (high - low) * (H / ln n)^exponent, with H the entropy of the n candidates.

    low = max(0, temperature - spread), high = temperature + spread: hot where the model wavers,
    cold where it is sure. Leaves the candidates sorted.

    Source: kalomaze, "Dynamic Temperature" (KoboldCpp and llama.cpp, 2023).
    """

    def __init__(self, temperature: float, spread: float, exponent: float) -> None:
        middle, half = np.float32(temperature), np.float32(spread)
        self._low = max(np.float32(0), middle - half)
        self._high = middle + half
        self._exponent = np.float32(exponent)

    def apply(self, candidates: Candidates) -> None:
        n = len(candidates)
        if n <= 1:
            return
        candidates.sort()
        candidates.softmax()
        most = -log(np.array([1 / n], np.float32))[0]
        share = np.float32(np.float64(entropy(candidates.probs) / most) ** self._exponent)
        scale(candidates, self._low + (self._high - self._low) * share)


def scale(candidates: Candidates, temperature: np.float32) -> None:
    """Divide the logits by the temperature, or leave only the highest where that can't be done.

    It can't at 0 or below, nor where the quotient leaves float32's range. An infinite temperature
    makes all equal that are not ruled out.
    """
    if temperature == np.inf:
        candidates.logits[candidates.logits > -np.inf] = 0
        return
    best = int(candidates.logits.argmax())
    highest = candidates.logits[best]
    with np.errstate(over="ignore"):
        if temperature > 0 and np.isfinite(highest / temperature):
            candidates.logits /= temperature
            return
    candidates.logits[:] = -np.inf
    candidates.logits[best] = highest
