"""Small distributions in, small distributions out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gguf_run.sampling.candidates import F32, Candidates
from gguf_run.sampling.sampler import Sampler


def logits_of(probs: Sequence[float]) -> F32:
    """Logits whose softmax is `probs`."""
    with np.errstate(divide="ignore"):
        return np.log(np.array(probs, np.float64)).astype(np.float32)


def candidates_of(probs: Sequence[float]) -> Candidates:
    """The tokens 0, 1, ... with these probabilities, as a chain begins with them."""
    ids = np.arange(len(probs), dtype=np.int32)
    return Candidates(ids, logits_of(probs), is_vocab=True)


def applied(sampler: Sampler, probs: Sequence[float]) -> tuple[list[int], list[float]]:
    """Ids and probabilities after one sampler."""
    candidates = candidates_of(probs)
    sampler.apply(candidates)
    candidates.softmax()
    return candidates.ids.tolist(), candidates.probs.tolist()
