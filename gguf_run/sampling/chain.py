"""The sampler chain: logits of one position in, one token out."""

from __future__ import annotations

import copy
import secrets
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gguf_run.errors import ModelError
from gguf_run.sampling.adaptive_p import AdaptiveP
from gguf_run.sampling.candidates import F32, F64, Candidates, Ids
from gguf_run.sampling.dry import Breakers, Dry
from gguf_run.sampling.likeliest import TopLogprobs
from gguf_run.sampling.mirostat import MirostatV1, MirostatV2
from gguf_run.sampling.on_device import DeviceSampling, device_sampling
from gguf_run.sampling.params import MAX_SEED, SamplingParams
from gguf_run.sampling.penalties import LogitBias, Penalties
from gguf_run.sampling.sampler import Sampler, Selector
from gguf_run.sampling.selectors import Distribution, Greedy
from gguf_run.sampling.temperature import DynamicTemperature, Temperature
from gguf_run.sampling.truncation import MinP, TopK, TopNSigma, TopP, Typical
from gguf_run.sampling.xtc import Xtc


@dataclass(frozen=True, slots=True)
class Sampled:
    """A token, and the natural logarithm of its probability by the model alone.

    logprob is the log softmax of the logits as they came in, before any sampler; so are those of
    the likeliest tokens in top, where they were asked for.
    """

    token: int
    logprob: float
    top: TopLogprobs = ()


class SamplerChain:
    """Draws tokens as llama.cpp does: logit bias, `params.samplers` in order, then the draw.

    n_vocab: how many logits a position has. dry_breakers: what `sequence_breakers` made of
    `params.dry_sequence_breakers` with the model's tokenizer; needed where DRY is on and has
    breakers. A chain belongs to one sequence: it remembers the tokens it was told of by `accept`.
    """

    def __init__(
        self, params: SamplingParams, n_vocab: int, dry_breakers: Breakers | None = None
    ) -> None:
        self.params = params
        self.n_vocab = n_vocab
        self.seed = _resolve(params.seed)
        self._ids: Ids = np.arange(n_vocab, dtype=np.int32)
        self._samplers, self._selector = _build(params, n_vocab, self.seed, dry_breakers)

    def sample(self, logits: ArrayLike, allowed: NDArray[np.bool_] | None = None) -> Sampled:
        """Draw a token from float32 (n_vocab,) logits, which are left as they are.

        allowed: bool (n_vocab,), which tokens may be drawn at all; None: every one.

        The token is not taken note of: pass it to `accept`. NaN, +inf, another shape, or no token
        that may be drawn raise ModelError.
        """
        raw = self._checked(logits)
        free = raw if allowed is None else np.where(allowed, raw, np.float32(-np.inf))
        candidates, running = self._weigh(free)
        token = int(candidates.ids[self._selector.draw(candidates, running)])
        return Sampled(token, _log_softmax_at(raw, token))

    def on_device(self) -> DeviceSampling | None:
        """What a device needs to draw this chain's next tokens; None where it can't."""
        return device_sampling(self.params, self._samplers, self._selector, self.n_vocab)

    def accept_drawn(self, token: int, log_prob: float) -> Sampled:
        """Take note of a token that a device has drawn in place of `sample`.

        ModelError where it is none, or its log probability is not finite.
        """
        if token < 0:
            raise ModelError(
                "sampling: expected a finite highest logit, found none; loosen the logit biases or "
                "penalties, or look whether the weights are damaged"
            )
        if not np.isfinite(log_prob):
            raise _not_finite("log probabilities", log_prob, token)
        self._selector.skip()
        self.accept(token)
        return Sampled(token, log_prob)

    def probabilities(self, logits: ArrayLike) -> tuple[Ids, F32]:
        """What `sample` would draw from: ids int32 (n,), probs float32 (n,), in candidate order.

        Neither a draw nor a change of state is made.
        """
        candidates, _ = self.clone()._weigh(self._checked(logits))
        return candidates.ids, candidates.probs

    def accept(self, token: int) -> None:
        """Take note of a token of the text; those of the prompt count too, as in llama.cpp."""
        if not 0 <= token < self.n_vocab:
            raise ModelError(
                f"sampling: expected a token of 0 to {self.n_vocab - 1}, found {token}"
            )
        for sampler in (*self._samplers, self._selector):
            sampler.accept(token)

    def reset(self) -> None:
        """Forget the text and begin the draws anew, from `seed`."""
        for sampler in (*self._samplers, self._selector):
            sampler.reset()

    def clone(self) -> SamplerChain:
        """A chain in the same state, which goes its own way."""
        twin = copy.copy(self)
        twin._samplers = [sampler.clone() for sampler in self._samplers]
        twin._selector = self._selector.clone()
        return twin

    def _weigh(self, raw: F32) -> tuple[Candidates, F64]:
        candidates = Candidates(self._ids, raw.copy(), is_vocab=True)
        # Extreme parameters leave float32's range; what comes of it is llama.cpp's.
        with np.errstate(over="ignore", divide="ignore"):
            for sampler in self._samplers:
                sampler.apply(candidates)
            return candidates, self._selector.weigh(candidates)

    def _checked(self, logits: ArrayLike) -> F32:
        raw = np.asarray(logits, np.float32)
        if raw.shape != (self.n_vocab,):
            raise ModelError(
                f"sampling: expected logits of shape ({self.n_vocab},), found {raw.shape}"
            )
        highest = raw.max()
        if not np.isfinite(highest):
            raise _not_finite("logits", float(highest), int(raw.argmax()))
        return raw


def _not_finite(what: str, found: float, token: int) -> ModelError:
    return ModelError(
        f"sampling: expected finite {what}, found {found} at token {token}; "
        "the weights may be damaged, or the activations have overflowed"
    )


def _resolve(seed: int | None) -> int:
    return secrets.randbelow(MAX_SEED) if seed in (None, -1, MAX_SEED) else int(seed)


def _log_softmax_at(logits: F32, token: int) -> float:
    highest = logits.max()
    total = np.exp(logits - highest).sum(dtype=np.float64)
    return float(logits[token] - highest - np.log(total))


def _build(
    params: SamplingParams, n_vocab: int, seed: int, dry_breakers: Breakers | None
) -> tuple[list[Sampler], Selector]:
    samplers: list[Sampler] = []
    if params.logit_bias:
        _check_biased_tokens(params, n_vocab)
        samplers.append(LogitBias(params.logit_bias))
    if params.mirostat:
        return [*samplers, *_temperature(params)], _mirostat(params, n_vocab, seed)
    make = _factories(params, seed, dry_breakers)
    for name in params.samplers:
        samplers += make[name]()
    if "adaptive_p" in params.samplers:
        return samplers, AdaptiveP(params.adaptive_target, params.adaptive_decay, seed)
    needed = samplers[: _needless_from(samplers)]
    if params.temperature <= 0 and any(isinstance(s, Temperature) for s in samplers[len(needed) :]):
        return needed, Greedy()
    return samplers, Distribution(seed)


def _factories(
    p: SamplingParams, seed: int, dry_breakers: Breakers | None
) -> dict[str, Callable[[], list[Sampler]]]:
    """Name -> makes the sampler, or nothing where its parameters turn it off."""
    penalise = (p.repeat_penalty, p.frequency_penalty, p.presence_penalty)
    penalties = p.repeat_last_n != 0 and penalise != (1, 0, 0)
    xtc = p.xtc_probability > 0 and p.xtc_threshold <= 0.5
    return {
        "penalties": lambda: [Penalties(p.repeat_last_n, *penalise)] if penalties else [],
        "dry": lambda: _dry(p, dry_breakers),
        "top_n_sigma": lambda: [TopNSigma(p.top_n_sigma)] if p.top_n_sigma > 0 else [],
        "top_k": lambda: [TopK(p.top_k)] if p.top_k > 0 else [],
        "typ_p": lambda: [Typical(p.typical_p, p.min_keep)] if p.typical_p < 1 else [],
        "top_p": lambda: [TopP(p.top_p, p.min_keep)] if p.top_p < 1 else [],
        "min_p": lambda: [MinP(p.min_p, p.min_keep)] if p.min_p > 0 else [],
        "xtc": lambda: [Xtc(p.xtc_probability, p.xtc_threshold, p.min_keep, seed)] if xtc else [],
        "temperature": lambda: _temperature(p),
        "adaptive_p": list,  # a selector: it ends the chain wherever it is named
    }


def _dry(p: SamplingParams, breakers: Breakers | None) -> list[Sampler]:
    if p.dry_multiplier == 0 or p.dry_base < 1 or p.dry_penalty_last_n == 0:
        return []
    if breakers is None:
        if p.dry_sequence_breakers:
            raise ModelError(
                "sampling: DRY with sequence breakers needs them as tokens; pass dry_breakers, "
                "made by sequence_breakers, or set dry_sequence_breakers to ()"
            )
        breakers = {}
    return [Dry(p.dry_multiplier, p.dry_base, p.dry_allowed_length, p.dry_penalty_last_n, breakers)]


def _temperature(p: SamplingParams) -> list[Sampler]:
    if p.dynatemp_range > 0 and not p.mirostat:
        return [DynamicTemperature(p.temperature, p.dynatemp_range, p.dynatemp_exponent)]
    return [Temperature(p.temperature)] if p.temperature != 1 else []


def _mirostat(p: SamplingParams, n_vocab: int, seed: int) -> Selector:
    if p.mirostat == 1:
        return MirostatV1(p.mirostat_tau, p.mirostat_eta, n_vocab, seed)
    return MirostatV2(p.mirostat_tau, p.mirostat_eta, seed)


def _check_biased_tokens(params: SamplingParams, n_vocab: int) -> None:
    for token in params.logit_bias:
        if not 0 <= token < n_vocab:
            raise ModelError(
                f"sampling parameter logit_bias: expected tokens of 0 to {n_vocab - 1}, "
                f"found {token}"
            )


def _needless_from(samplers: list[Sampler]) -> int:
    """Where the steps begin that change nothing for a greedy choice."""
    start = len(samplers)
    while start and samplers[start - 1].keeps_best:
        start -= 1
    return start
