"""Logit bias and the repeat, frequency and presence penalties."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest

from gguf_run.sampling.candidates import Candidates
from gguf_run.sampling.penalties import LogitBias, Penalties
from gguf_run.sampling.truncation import TopK

LOGITS = [2.0, -1.0, 0.0, 4.0]


def penalised(sampler: Penalties, text: Iterable[int]) -> list[float]:
    for token in text:
        sampler.accept(token)
    candidates = Candidates(
        np.arange(4, dtype=np.int32), np.array(LOGITS, np.float32), is_vocab=True
    )
    sampler.apply(candidates)
    return candidates.logits.tolist()


def test_repeat_divides_positive_logits_and_multiplies_the_others() -> None:
    assert penalised(Penalties(64, 2.0, 0, 0), [0, 1, 2]) == [1.0, -2.0, 0.0, 4.0]


def test_repeat_does_not_count_but_frequency_does() -> None:
    assert penalised(Penalties(64, 2.0, 0, 0), [0, 0, 0]) == [1.0, -1.0, 0.0, 4.0]
    assert penalised(Penalties(64, 1.0, 0.5, 0), [0, 0, 0]) == [0.5, -1.0, 0.0, 4.0]


def test_presence_takes_once() -> None:
    assert penalised(Penalties(64, 1.0, 0, 0.25), [3, 3, 1]) == [2.0, -1.25, 0.0, 3.75]


def test_all_three_together() -> None:
    assert penalised(Penalties(64, 2.0, 0.5, 0.25), [3, 3]) == [2.0, -1.0, 0.0, 0.75]


def test_only_the_last_tokens_count() -> None:
    assert penalised(Penalties(2, 2.0, 0, 0), [0, 3, 3]) == [2.0, -1.0, 0.0, 2.0]


def test_minus_one_looks_back_over_the_whole_text() -> None:
    assert penalised(Penalties(-1, 2.0, 0, 0), [0, *[3] * 1000]) == [1.0, -1.0, 0.0, 2.0]


def test_nothing_changes_before_the_first_token_and_after_a_reset() -> None:
    sampler = Penalties(64, 2.0, 1.0, 1.0)
    assert penalised(sampler, []) == LOGITS
    assert penalised(sampler, [0]) != LOGITS
    sampler.reset()
    assert penalised(sampler, []) == LOGITS


def test_a_clone_remembers_the_text_and_goes_its_own_way() -> None:
    sampler = Penalties(64, 2.0, 0, 0)
    sampler.accept(0)
    twin = sampler.clone()
    twin.accept(3)
    assert penalised(twin, []) == [1.0, -1.0, 0.0, 2.0]
    assert penalised(sampler, []) == [1.0, -1.0, 0.0, 4.0]


def test_penalties_after_top_k_find_the_tokens_that_are_left() -> None:
    candidates = Candidates(
        np.arange(4, dtype=np.int32), np.array(LOGITS, np.float32), is_vocab=True
    )
    TopK(2).apply(candidates)
    sampler = Penalties(64, 2.0, 0, 0)
    for token in (1, 3):
        sampler.accept(token)
    sampler.apply(candidates)
    assert dict(zip(candidates.ids.tolist(), candidates.logits.tolist(), strict=True)) == {
        3: 2.0,
        0: 2.0,
    }


@pytest.mark.parametrize("ids", [[0, 1, 2, 3], [3, 1]])
def test_logit_bias_adds_to_the_named_tokens(ids: list[int]) -> None:
    candidates = Candidates(
        np.array(ids, np.int32),
        np.array([LOGITS[i] for i in ids], np.float32),
        is_vocab=ids == [0, 1, 2, 3],
    )
    LogitBias({3: -1.5, 1: -np.inf}).apply(candidates)
    biased = dict(zip(candidates.ids.tolist(), candidates.logits.tolist(), strict=True))
    assert (biased[3], biased[1]) == (2.5, -np.inf)
    assert all(biased[i] == LOGITS[i] for i in ids if i in (0, 2))
