"""XTC: exclude top choices."""

from __future__ import annotations

import numpy as np

from gguf_run.sampling.candidates import Candidates
from gguf_run.sampling.rng import Mt19937
from gguf_run.sampling.sampler import Sampler


class Xtc(Sampler):
    """Now and then drop every candidate of at least `threshold`, except the least likely of those.

    It happens with a chance of `probability` a token, drawn from a generator of its own (one
    uniform float where there are two candidates or more). When it does, the candidates come out
    sorted.

    Source: p-e-w, "Exclude Top Choices (XTC)" (text-generation-webui pull request 6335, 2024).
    """

    def __init__(self, probability: float, threshold: float, min_keep: int, seed: int) -> None:
        self._probability = np.float32(probability)
        self._threshold = np.float32(threshold)
        self._min_keep = min_keep
        self._seed = seed
        self._rng = Mt19937(seed)

    def apply(self, candidates: Candidates) -> None:
        if len(candidates) < 2 or self._rng.uniform_float() > self._probability:
            return
        candidates.sort()
        candidates.softmax()
        dropped = int(np.count_nonzero(candidates.probs >= self._threshold)) - 1
        if dropped > 0 and len(candidates) - dropped >= self._min_keep:
            candidates.take(slice(dropped, None))

    def reset(self) -> None:
        self._rng = Mt19937(self._seed)

    def _unshare(self) -> None:
        self._rng = self._rng.clone()
