"""The likeliest tokens of a position, by the model alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

TopLogprobs = tuple[tuple[int, float], ...]


def likeliest(logits: ArrayLike, n: int) -> TopLogprobs:
    """The `n` likeliest tokens with the natural logarithms of their probabilities, likeliest first.

    logits: float32 (n_vocab,), as they come from the model. Equal ones stand in the order of ids.
    """
    values = np.asarray(logits, np.float64)
    n = min(n, len(values))
    threshold = np.partition(values, len(values) - n)[len(values) - n]
    ids = np.flatnonzero(values >= threshold)
    ids = ids[np.argsort(-values[ids], kind="stable")][:n]
    highest = values.max()
    total = highest + np.log(np.exp(values - highest).sum())
    return tuple((int(token), float(values[token] - total)) for token in ids)
