"""Fixed and dynamic temperature."""

from __future__ import annotations

import numpy as np
import pytest

from gguf_run.sampling.candidates import Candidates
from gguf_run.sampling.temperature import DynamicTemperature, Temperature

from .tables import applied, candidates_of


def test_probabilities_are_raised_to_one_over_t() -> None:
    probs = [0.1, 0.2, 0.7]
    for t in (0.5, 1.0, 3.0):
        weights = np.array(probs) ** (1 / t)
        assert applied(Temperature(t), probs)[1] == pytest.approx(
            (weights / weights.sum()).tolist(), rel=1e-5
        )


@pytest.mark.parametrize("t", [0.0, -1.0])
def test_no_temperature_leaves_only_the_first_of_the_best(t: float) -> None:
    assert applied(Temperature(t), [0.2, 0.4, 0.4]) == ([0, 1, 2], [0.0, 1.0, 0.0])


def test_dynamic_temperature_is_highest_where_all_are_equal() -> None:
    candidates = candidates_of([0.25] * 4)
    before = candidates.logits.copy()
    DynamicTemperature(1.0, 0.5, 1.0).apply(candidates)
    assert candidates.logits == pytest.approx(before / 1.5)


def test_dynamic_temperature_is_lowest_where_one_is_certain() -> None:
    candidates = candidates_of([1.0, 1e-30, 1e-30])
    before = candidates.logits.copy()
    DynamicTemperature(1.0, 0.5, 1.0).apply(candidates)
    assert candidates.logits == pytest.approx(before / 0.5)


@pytest.mark.parametrize("exponent", [0.5, 1.0, 2.0])
def test_dynamic_temperature_follows_the_entropy(exponent: float) -> None:
    probs = np.array([0.5, 0.3, 0.2])
    share = -(probs * np.log(probs)).sum() / np.log(3)
    t = 0.2 + (1.4 - 0.2) * share**exponent
    weights = probs ** (1 / t)
    found = applied(DynamicTemperature(0.8, 0.6, exponent), probs.tolist())[1]
    assert found == pytest.approx((weights / weights.sum()).tolist(), rel=1e-5)


def test_a_negative_exponent_makes_all_equal_where_one_is_certain() -> None:
    candidates = Candidates(np.arange(3, dtype=np.int32), np.array([0, 200, -np.inf], np.float32))
    with np.errstate(divide="ignore"):
        DynamicTemperature(1.0, 0.5, -1.0).apply(candidates)
    assert candidates.logits.tolist() == [0, 0, -np.inf]


def test_dynamic_temperature_never_goes_below_zero() -> None:
    # A range above the temperature: certain means greedy.
    assert applied(DynamicTemperature(0.5, 2.0, 1.0), [1.0, 1e-40])[1] == [1.0, 0.0]


def test_dynamic_temperature_sorts_and_leaves_one_candidate_alone() -> None:
    assert applied(DynamicTemperature(0.8, 0.5, 1.0), [0.2, 0.5, 0.3])[0] == [1, 2, 0]
    assert applied(DynamicTemperature(0.8, 0.5, 1.0), [1.0]) == ([0], [1.0])
