"""top-k, top-p, typical, min-p, top-n-sigma: tables worked out by hand, and properties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gguf_run.errors import ModelError
from gguf_run.sampling.candidates import Candidates
from gguf_run.sampling.sampler import Sampler
from gguf_run.sampling.truncation import MinP, TopK, TopNSigma, TopP, Typical

from .tables import applied, candidates_of

PROBS = [0.15, 0.5, 0.05, 0.3]

TABLE: list[tuple[Sampler, list[int], list[float]]] = [
    (TopK(1), [1], [1.0]),
    (TopK(3), [1, 3, 0], [50 / 95, 30 / 95, 15 / 95]),
    (TopK(4), [1, 3, 0, 2], [0.5, 0.3, 0.15, 0.05]),
    (TopK(99), [1, 3, 0, 2], [0.5, 0.3, 0.15, 0.05]),
    (TopP(0.0, 0), [1], [1.0]),
    (TopP(0.45, 0), [1], [1.0]),
    (TopP(0.7, 0), [1, 3], [50 / 80, 30 / 80]),
    (TopP(0.85, 0), [1, 3, 0], [50 / 95, 30 / 95, 15 / 95]),
    (TopP(0.99, 0), [1, 3, 0, 2], [0.5, 0.3, 0.15, 0.05]),
    (TopP(0.0, 3), [1, 3, 0], [50 / 95, 30 / 95, 15 / 95]),
    (MinP(0.05, 0), [0, 1, 2, 3], PROBS),
    (MinP(0.25, 0), [0, 1, 3], [15 / 95, 50 / 95, 30 / 95]),
    (MinP(0.5, 0), [1, 3], [50 / 80, 30 / 80]),
    (MinP(1.0, 0), [1], [1.0]),
    (MinP(1.0, 2), [1, 3], [50 / 80, 30 / 80]),
    (MinP(1.0, 9), [1, 3, 0, 2], [0.5, 0.3, 0.15, 0.05]),
]


@pytest.mark.parametrize(("sampler", "ids", "probs"), TABLE)
def test_known_distribution_in_known_distribution_out(
    sampler: Sampler, ids: list[int], probs: list[float]
) -> None:
    found_ids, found_probs = applied(sampler, PROBS)
    assert found_ids == ids
    assert found_probs == pytest.approx(probs, rel=1e-6)


# H = -(0.5 ln 0.5 + 0.4 ln 0.2 + 0.1 ln 0.05) = 1.2899; the surprises 0.693, 1.609, 2.996 lie
# 0.597, 0.319 and 1.706 from it.
@pytest.mark.parametrize(
    ("p", "min_keep", "ids"),
    [
        (0.1, 0, [1]),
        (0.3, 0, [1, 2]),
        (0.5, 0, [1, 2, 0]),
        (0.92, 0, [1, 2, 0, 3]),
        (0.1, 3, [1, 2, 0]),
    ],
)
def test_typical_takes_the_surprises_nearest_to_the_entropy(
    p: float, min_keep: int, ids: list[int]
) -> None:
    assert applied(Typical(p, min_keep), [0.5, 0.2, 0.2, 0.05, 0.05])[0] == ids


def test_typical_passes_over_ruled_out_candidates() -> None:
    assert applied(Typical(0.5, 0), [0.5, 0.0, 0.2, 0.2, 0.05, 0.05])[0] == [2, 3, 0]


# mean 1, standard deviation sqrt((1 + 1 + 1 + 9) / 4) = 1.732
@pytest.mark.parametrize(
    ("n", "allowed"), [(1.0, [3]), (2.0, [3]), (2.4, [0, 1, 2, 3]), (9.0, [0, 1, 2, 3])]
)
def test_top_n_sigma_rules_out_what_is_far_below_the_best(n: float, allowed: list[int]) -> None:
    candidates = Candidates(np.arange(4, dtype=np.int32), np.array([0, 0, 0, 4], np.float32))
    TopNSigma(n).apply(candidates)
    assert np.flatnonzero(candidates.logits != -np.inf).tolist() == allowed


def test_top_n_sigma_leaves_ruled_out_candidates_out_of_the_deviation() -> None:
    logits = np.array([0, 0, -np.inf, 0, 4], np.float32)
    candidates = Candidates(np.arange(5, dtype=np.int32), logits)
    TopNSigma(2.4).apply(candidates)
    assert candidates.logits.tolist() == [0, 0, -np.inf, 0, 4]


@pytest.mark.parametrize(
    "sampler", [TopK(1), TopP(0.5, 0), Typical(0.5, 0), MinP(0.5, 0), TopNSigma(1.0)]
)
def test_one_candidate_stays(sampler: Sampler) -> None:
    assert applied(sampler, [1.0]) == ([0], [1.0])


@pytest.mark.parametrize("sampler", [TopP(0.5, 0), Typical(0.5, 0), MinP(0.5, 0), TopNSigma(1.0)])
def test_nothing_left_to_choose_from_is_an_error(sampler: Sampler) -> None:
    with pytest.raises(ModelError, match="may be drawn"):
        sampler.apply(candidates_of([0.0, 0.0]))


def test_equal_logits_keep_their_order_and_the_first_ones_are_kept() -> None:
    candidates = Candidates(np.arange(5, dtype=np.int32), np.array([1, 2, 1, 2, 1], np.float32))
    TopK(4).apply(candidates)
    assert candidates.ids.tolist() == [1, 3, 0, 2]


def test_positive_and_negative_zero_are_equal_logits() -> None:
    candidates = Candidates(np.arange(3, dtype=np.int32), np.array([-0.0, 0.0, -0.0], np.float32))
    candidates.sort()
    assert candidates.ids.tolist() == [0, 1, 2]


logits = st.lists(
    st.floats(-50, 50, width=32) | st.sampled_from([-np.inf, 0.0]), min_size=1, max_size=40
).filter(lambda values: max(values) > -np.inf)


def vocabulary(values: list[float]) -> Candidates:
    return Candidates(
        np.arange(len(values), dtype=np.int32), np.array(values, np.float32), is_vocab=True
    )


@given(logits, st.integers(1, 50))
def test_top_k_is_the_head_of_a_stable_sort(values: list[float], k: int) -> None:
    candidates = vocabulary(values)
    TopK(k).apply(candidates)
    order = np.argsort(-np.array(values, np.float32), kind="stable")[:k]
    assert candidates.ids.tolist() == order.tolist()
    assert candidates.logits.tolist() == np.array(values, np.float32)[order].tolist()


@given(logits, st.floats(0, 1 - 2**-10, width=32), st.booleans())
def test_top_p_is_the_smallest_head_that_sums_to_p(
    values: list[float], p: float, sort_first: bool
) -> None:
    candidates = vocabulary(values)
    if sort_first:
        candidates.sort()
    candidates.softmax()
    TopP(p, 0).apply(candidates)
    assert (np.diff(candidates.logits[np.isfinite(candidates.logits)]) <= 0).all()
    kept = candidates.probs.astype(np.float64)
    assert kept[:-1].sum() <= p + 1e-5
    assert kept.sum() >= p - 1e-5


@given(logits, st.floats(2**-6, 1, width=32), st.booleans())
def test_min_p_keeps_just_the_likely_in_their_order(
    values: list[float], p: float, sort_first: bool
) -> None:
    candidates = vocabulary(values)
    if sort_first:
        candidates.sort()
    before = candidates.ids.tolist()
    MinP(p, 0).apply(candidates)
    bound = np.float32(max(values)) + np.float32(np.log(p))
    likely = {i for i, value in enumerate(values) if np.float32(value) >= bound}
    assert candidates.ids.tolist() == [i for i in before if i in likely]


@given(st.integers(0, 2**32 - 1), st.floats(0.05, 0.999))
def test_top_p_of_many_candidates_is_top_p_of_the_sorted_ones(seed: int, p: float) -> None:
    values = np.random.default_rng(seed).normal(size=2000).astype(np.float32)
    straight, sorted_first = vocabulary(values.tolist()), vocabulary(values.tolist())
    sorted_first.sort()
    TopP(p, 0).apply(straight)
    TopP(p, 0).apply(sorted_first)
    # The two sum the weights in another order: the last candidate may be on either side of p.
    assert abs(len(straight) - len(sorted_first)) <= 1
    both = min(len(straight), len(sorted_first))
    assert straight.ids[:both].tolist() == sorted_first.ids[:both].tolist()
    assert straight.is_sorted
