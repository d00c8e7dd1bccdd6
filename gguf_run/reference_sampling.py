"""The reference's ops `sample` and `sample_all`; see `reference.py` and `graph_ops.SAMPLER`."""

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
    for i, s in enumerate(_samplers(sampler)):
        with np.errstate(over="ignore"):
            logits = _penalised(x[i] + bias[i], counts[i], s)
            order = np.argsort(-logits, kind="stable")[: int(s.top_k)]
            out[i] = -1
            if not np.isinf(logits[order[0]]):
                out[i] = order[_drawn(_truncated(logits[order], s), s, draw[i])]


@op
def sample_all(
    t: Tensor, out: Array, x: Floats, bias: Floats, counts: Array, sampler: Floats, draw: Array
) -> None:
    for i, s in enumerate(_samplers(sampler)):
        with np.errstate(over="ignore"):
            logits = _penalised(x[i] + bias[i], counts[i], s)
            top = logits.max()
            likely = np.flatnonzero(logits >= top + s.log_min_p)
            out[i] = -1 if np.isinf(top) else likely[_drawn(logits[likely], s, draw[i])]


def _samplers(rows: Floats) -> list[SimpleNamespace]:
    return [SimpleNamespace(**dict(zip(SAMPLER, row, strict=True))) for row in rows]


def _penalised(logits: Floats, counts: Array, s: SimpleNamespace) -> Floats:
    repeated = np.where(logits <= 0, logits * s.repeat, logits / s.repeat)
    less = counts.astype(np.float32) * s.frequency + s.presence
    penalised: Floats = np.where(counts > 0, repeated - less, logits)
    return penalised


def _weights(logits: Floats) -> Floats:
    weights: Floats = np.exp((logits - logits.max()).astype(np.float64)).astype(np.float32)
    return weights


def _truncated(logits: Floats, s: SimpleNamespace) -> Floats:
    """The first of `logits`, the highest of which is the first, that top-p and min-p leave."""
    least = int(s.min_keep)
    if s.top_p <= 1:
        weights = _weights(logits)
        sums = np.add.accumulate(weights / np.add.accumulate(weights)[-1])
        reached = np.flatnonzero(sums >= s.top_p)
        some = reached[reached + 1 >= least]
        logits = logits[: some[0] + 1 if len(some) else None]
    likely = np.count_nonzero(logits >= logits[0] + s.log_min_p)
    return logits[: max(likely, least)]


def _drawn(logits: Floats, s: SimpleNamespace, words: Array) -> int:
    """The place among `logits` at which a draw ends."""
    best = int(logits.argmax())
    if not (s.temperature > 0 and np.isfinite(logits[best] / s.temperature)):
        return best
    low, high = words.view(np.uint32).tolist()
    u = min((low + high * 2.0**32) / 2.0**64, 1 - 2.0**-53)
    sums = np.add.accumulate(_weights(logits / s.temperature), dtype=np.float64)
    return int(np.searchsorted(sums, sums[-1] * u))
