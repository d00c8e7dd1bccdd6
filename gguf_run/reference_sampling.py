"""The reference's op `sample`; see `reference.py` and `graph_ops.SAMPLER`."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from gguf_run.graph import Tensor
from gguf_run.graph_ops import SAMPLER
from gguf_run.reference import Array, Floats, op


@op
def sample(
    t: Tensor, out: Array, x: Floats, bias: Floats, counts: Array, sampler: Floats, draw: Array
) -> None:
    for i in range(len(x)):
        s = SimpleNamespace(**dict(zip(SAMPLER, sampler[i], strict=True)))
        with np.errstate(over="ignore"):
            logits = _penalised(x[i] + bias[i], counts[i], s)
            order = np.argsort(-logits, kind="stable")[: int(s.top_k)]
            low, high = draw[i].view(np.uint32).tolist()
            u = min((low + high * 2.0**32) / 2.0**64, 1 - 2.0**-53)
            best = logits[order]
            out[i] = -1 if np.isinf(best[0]) else order[_drawn(best, s, u)]


def _penalised(logits: Floats, counts: Array, s: SimpleNamespace) -> Floats:
    repeated = np.where(logits <= 0, logits * s.repeat, logits / s.repeat)
    less = counts.astype(np.float32) * s.frequency + s.presence
    penalised: Floats = np.where(counts > 0, repeated - less, logits)
    return penalised


def _weights(logits: Floats) -> Floats:
    weights: Floats = np.exp((logits - logits[0]).astype(np.float64)).astype(np.float32)
    return weights


def _drawn(logits: Floats, s: SimpleNamespace, u: float) -> int:
    """The place among `logits`, the highest first, at which a draw of `u` ends."""
    least = int(s.min_keep)
    if s.top_p <= 1:
        weights = _weights(logits)
        sums = np.add.accumulate(weights / np.add.accumulate(weights)[-1])
        reached = np.flatnonzero(sums >= s.top_p)
        some = reached[reached + 1 >= least]
        logits = logits[: some[0] + 1 if len(some) else None]
    likely = np.count_nonzero(logits >= logits[0] + s.log_min_p)
    logits = logits[: max(likely, least)]
    if not (s.temperature > 0 and np.isfinite(logits[0] / s.temperature)):
        return 0
    sums = np.add.accumulate(_weights(logits / s.temperature), dtype=np.float64)
    return int(np.searchsorted(sums, sums[-1] * u))
