"""Mirostat 1 and 2."""

from __future__ import annotations

import numpy as np
import pytest

from gguf_run.sampling.mirostat import MirostatV1, MirostatV2

from .tables import candidates_of

HALVES = [0.125, 0.5, 0.125, 0.25]  # surprises of 3, 1, 3 and 2 bits


def step(sampler: MirostatV2, probs: list[float]) -> tuple[list[int], list[float], int]:
    candidates = candidates_of(probs)
    index = sampler.draw(candidates, sampler.weigh(candidates))
    return candidates.ids.tolist(), candidates.probs.tolist(), index


@pytest.mark.parametrize(
    ("tau", "ids"), [(0.2, [1]), (0.6, [1]), (1.2, [1, 3]), (1.6, [1, 3, 0, 2])]
)
def test_v2_keeps_surprises_up_to_twice_tau_at_first(tau: float, ids: list[int]) -> None:
    found, probs, _ = step(MirostatV2(tau, 0.1, seed=1), HALVES)
    assert found == ids
    assert probs == pytest.approx([HALVES[i] / sum(HALVES[j] for j in ids) for i in ids])


def test_the_bound_moves_against_the_error() -> None:
    # Of 2/3 and 1/3, the first is drawn with 0.585 bits, the second with 1.585: with eta = 1 the
    # bound of 2.4 bits becomes 3.015 or 2.015.
    seen = set()
    for seed in range(20):
        sampler = MirostatV2(1.2, 1.0, seed)
        _, _, index = step(sampler, HALVES)
        assert step(sampler, HALVES)[0] == ([1, 3, 0, 2] if index == 0 else [1, 3])
        seen.add(index)
    assert seen == {0, 1}


def test_v1_keeps_what_zipfs_law_says() -> None:
    # p_i ~ i^-2: s = 2, e = 1; k = (2^(2 tau) / (1 - 1 / n))^(1/2) = (2^7 / 0.99)^(1/2) = 11.4
    weights = np.arange(1, 101, dtype=np.float64) ** -2
    probs = (weights / weights.sum()).tolist()
    assert step(MirostatV1(3.5, 0.1, n_vocab=100, seed=1), probs)[0] == list(range(11))


@pytest.mark.parametrize(
    "probs", [[1.0], [1.0, 0.0, 0.0], [0.25] * 4], ids=["one", "ruled out", "flat"]
)
@pytest.mark.parametrize("version", [1, 2])
def test_degenerate_distributions_give_a_token(version: int, probs: list[float]) -> None:
    sampler = (
        MirostatV1(5.0, 0.1, n_vocab=len(probs), seed=1)
        if version == 1
        else MirostatV2(5.0, 0.1, seed=1)
    )
    for _ in range(30):
        ids, kept, index = step(sampler, probs)
        assert kept[index] > 0
        assert probs[ids[index]] > 0


def test_one_candidate_takes_no_draw() -> None:
    sampler, fresh = MirostatV2(3.0, 0.0, seed=4), MirostatV2(3.0, 0.0, seed=4)
    step(sampler, [1.0])
    assert [step(sampler, HALVES) for _ in range(20)] == [step(fresh, HALVES) for _ in range(20)]


@pytest.mark.parametrize(
    "sampler", [MirostatV1(3.0, 0.3, n_vocab=4, seed=2), MirostatV2(3.0, 0.3, seed=2)]
)
def test_reset_and_clone(sampler: MirostatV2) -> None:
    first = [step(sampler, HALVES) for _ in range(20)]
    twin = sampler.clone()
    assert [step(twin, HALVES) for _ in range(20)] == [step(sampler, HALVES) for _ in range(20)]
    sampler.reset()
    assert [step(sampler, HALVES) for _ in range(20)] == first
