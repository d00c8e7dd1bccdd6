"""Mirostat: hold the surprise of the text at a target.

Source: S. Basu et al., "Mirostat: A Neural Text Decoding Algorithm that Directly Controls
Perplexity" (2020), algorithms 1 and 2. Surprise is in bits; mu, the bound on it, starts at 2 tau
and after each token becomes mu - eta * (surprise - tau).
"""

from __future__ import annotations

import numpy as np

from gguf_run.sampling.candidates import F32, F64, Candidates, log, running_sum
from gguf_run.sampling.rng import Mt19937
from gguf_run.sampling.sampler import Selector
from gguf_run.sampling.selectors import discrete_draw, discrete_running

# The likeliest candidates that the exponent of Zipf's law is estimated from.
_ZIPF_CANDIDATES = 100


class MirostatV2(Selector):
    """Drop the candidates of a surprise above mu, but for the likeliest, and draw."""

    def __init__(self, tau: float, eta: float, seed: int) -> None:
        self._tau = np.float32(tau)
        self._eta = np.float32(eta)
        self._seed = seed
        self.reset()

    def reset(self) -> None:
        self._mu = np.float32(2) * self._tau
        self._rng = Mt19937(self._seed)

    def weigh(self, candidates: Candidates) -> F64:
        candidates.sort()
        candidates.softmax()
        candidates.take(slice(max(self._count(candidates.probs), 1)))
        candidates.softmax()
        return discrete_running(candidates.probs)

    def draw(self, candidates: Candidates, running: F64) -> int:
        index = discrete_draw(running, self._rng)
        surprise = _surprise(candidates.probs[index : index + 1])[0]
        self._mu -= self._eta * (surprise - self._tau)
        return index

    def _count(self, probs: F32) -> int:
        """How many candidates to keep; probs descend."""
        return int(np.count_nonzero(_surprise(probs) <= self._mu))

    def _unshare(self) -> None:
        self._rng = self._rng.clone()


class MirostatV1(MirostatV2):
    """Keep the k likeliest candidates and draw, k being what Zipf's law makes of mu.

    With s the exponent of Zipf's law and e = s - 1, k = (e * 2^mu / (1 - n_vocab^-e))^(1/s); s is
    the least-squares slope of ln(p_i / p_i+1) over ln((i + 1) / i) for the 100 likeliest
    candidates.
    """

    def __init__(self, tau: float, eta: float, n_vocab: int, seed: int) -> None:
        super().__init__(tau, eta, seed)
        self._n_vocab = n_vocab

    def _count(self, probs: F32) -> int:
        # Ruled-out candidates and flat distributions make infinities and NaN; `_to_int` takes them.
        with np.errstate(all="ignore"):
            s = _zipf_exponent(probs[:_ZIPF_CANDIDATES])
            e = s - np.float32(1)
            top = e * _pow(2, self._mu)
            bottom = np.float32(1) - _pow(self._n_vocab, -e)
            return _to_int(_pow(top / bottom, np.float32(1) / s))


def _zipf_exponent(probs: F32) -> np.float32:
    """The s of p_i ~ i^-s that fits descending probabilities; NaN for fewer than two."""
    if len(probs) < 2:
        return np.float32(np.nan)
    i = np.arange(1, len(probs), dtype=np.float32)
    t = log((i + np.float32(1)) / i)
    b = log(probs[:-1] / probs[1:])
    slope: np.float32 = running_sum(t * b)[-1] / running_sum(t * t)[-1]
    return slope


def _surprise(probs: F32) -> F32:
    """-log2 p in bits; infinite for 0."""
    with np.errstate(divide="ignore"):
        return -np.log2(probs.astype(np.float64)).astype(np.float32)


def _pow(base: float | np.float32, exponent: np.float32) -> np.float32:
    return np.float32(np.power(np.float64(base), np.float64(exponent)))


def _to_int(x: np.float32) -> int:
    """C's conversion to a 32-bit int on x86: NaN and what is too large become the least int."""
    return int(x) if abs(x) < 2**31 else -(2**31)
