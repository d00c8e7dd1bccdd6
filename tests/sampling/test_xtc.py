"""Exclude top choices."""

from __future__ import annotations

import pytest

from gguf_run.sampling.rng import Mt19937
from gguf_run.sampling.xtc import Xtc

from .tables import applied

PROBS = [0.15, 0.4, 0.1, 0.35]


@pytest.mark.parametrize(
    ("threshold", "min_keep", "ids"),
    [
        (0.5, 0, [0, 1, 2, 3]),
        (0.38, 0, [0, 1, 2, 3]),
        (0.3, 0, [3, 0, 2]),
        (0.12, 0, [0, 2]),
        (0.05, 0, [2]),
        (0.05, 2, [0, 1, 2, 3]),
        (0.12, 2, [0, 2]),
    ],
)
def test_all_but_the_last_of_the_top_choices_go(
    threshold: float, min_keep: int, ids: list[int]
) -> None:
    found = applied(Xtc(1.0, threshold, min_keep, seed=1), PROBS)[0]
    assert (sorted(found) if len(ids) == 4 else found) == ids


def test_it_happens_where_the_draw_is_no_more_than_the_probability() -> None:
    rng, sampler = Mt19937(3), Xtc(0.4, 0.1, 0, seed=3)
    happened = [len(applied(sampler, PROBS)[0]) < 4 for _ in range(200)]
    assert happened == [bool(rng.uniform_float() <= 0.4) for _ in range(200)]
    assert any(happened)
    assert not all(happened)


def test_one_candidate_takes_no_draw() -> None:
    sampler = Xtc(0.4, 0.1, 0, seed=3)
    applied(sampler, [1.0])
    fresh = Xtc(0.4, 0.1, 0, seed=3)
    assert [applied(sampler, PROBS) for _ in range(50)] == [
        applied(fresh, PROBS) for _ in range(50)
    ]


def test_reset_and_clone() -> None:
    sampler = Xtc(0.4, 0.1, 0, seed=3)
    first = [applied(sampler, PROBS) for _ in range(50)]
    twin = sampler.clone()
    assert [applied(twin, PROBS) for _ in range(50)] == [applied(sampler, PROBS) for _ in range(50)]
    sampler.reset()
    assert [applied(sampler, PROBS) for _ in range(50)] == first
