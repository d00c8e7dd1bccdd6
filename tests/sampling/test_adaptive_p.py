"""Adaptive-p."""

from __future__ import annotations

import numpy as np
import pytest

from gguf_run.sampling.adaptive_p import AdaptiveP

from .tables import candidates_of

PROBS = [0.5, 0.3, 0.2]


def weighed(sampler: AdaptiveP, probs: list[float]) -> list[float]:
    candidates = candidates_of(probs)
    sampler.weigh(candidates)
    return candidates.probs.tolist()


def expected(probs: list[float], aim: float) -> list[float]:
    distance = np.abs(np.array(probs) - aim) / 0.3
    weights = np.exp(5 - 10 * distance**2 / (1 + distance))
    return (weights / weights.sum()).tolist()


def test_tokens_near_the_target_are_preferred() -> None:
    # d = 0, 2/3, 1: logits 5, 7/3, 0
    weights = np.exp([5.0, 7 / 3, 0.0])
    found = weighed(AdaptiveP(0.5, 0.9, seed=1), PROBS)
    assert found == pytest.approx((weights / weights.sum()).tolist(), rel=1e-5)


def test_a_negative_target_changes_nothing() -> None:
    assert weighed(AdaptiveP(-1.0, 0.9, seed=1), PROBS) == pytest.approx(PROBS)


def test_the_aim_makes_up_for_what_was_drawn() -> None:
    sampler = AdaptiveP(0.3, 0.5, seed=1)
    candidates = candidates_of(PROBS)
    index = sampler.draw(candidates, sampler.weigh(candidates))
    sampler.accept(int(candidates.ids[index]))
    # The average starts with a weight of 1 / (1 - decay) = 2 and the sum target * 2.
    average = (PROBS[index] + 0.5 * 0.6) / (1 + 0.5 * 2)
    assert weighed(sampler, PROBS) == pytest.approx(expected(PROBS, 0.6 - average), rel=1e-5)


def test_a_token_that_was_not_drawn_does_not_count() -> None:
    sampler = AdaptiveP(0.3, 0.5, seed=1)
    candidates = candidates_of(PROBS)
    index = sampler.draw(candidates, sampler.weigh(candidates))
    sampler.accept((int(candidates.ids[index]) + 1) % 3)
    assert weighed(sampler, PROBS) == pytest.approx(expected(PROBS, 0.3), rel=1e-5)


def test_ruled_out_candidates_stay_ruled_out() -> None:
    assert weighed(AdaptiveP(0.0, 0.9, seed=1), [0.6, 0.0, 0.4])[1] == 0.0


def test_reset_and_clone() -> None:
    def run(sampler: AdaptiveP) -> list[int]:
        drawn = []
        for _ in range(40):
            candidates = candidates_of(PROBS)
            drawn.append(sampler.draw(candidates, sampler.weigh(candidates)))
            sampler.accept(drawn[-1])
        return drawn

    sampler = AdaptiveP(0.3, 0.9, seed=1)
    first = run(sampler)
    twin = sampler.clone()
    assert run(twin) == run(sampler)
    sampler.reset()
    assert run(sampler) == first
