"""DRY and its sequence breakers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gguf_run.sampling import sequence_breakers
from gguf_run.sampling.candidates import Candidates
from gguf_run.sampling.dry import Breakers, Dry

A, B, C, D, STOP = range(5)


def penalties(
    text: list[int],
    breakers: Breakers | None = None,
    *,
    multiplier: float = 1.0,
    base: float = 2.0,
    allowed_length: int = 2,
    last_n: int = 64,
) -> dict[int, float]:
    """Token -> what DRY takes from its logit."""
    sampler = Dry(multiplier, base, allowed_length, last_n, breakers or {})
    for token in text:
        sampler.accept(token)
    candidates = Candidates(np.arange(5, dtype=np.int32), np.zeros(5, np.float32), is_vocab=True)
    sampler.apply(candidates)
    return {i: -float(x) for i, x in enumerate(candidates.logits) if x}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ([A, B, C, D], {}),
        ([A, B, C, A], {}),
        ([A, B, C, A, B], {C: 1.0}),
        ([A, B, C, D, A, B, C], {D: 2.0}),
        ([A, B, C, A, B, D, A, B], {C: 1.0, D: 1.0}),
        ([D, A, B, C, A, B, D, D, A, B], {C: 2.0, D: 1.0}),
        ([A, A, A, A], {A: 2.0}),
    ],
)
def test_a_token_is_charged_by_the_run_that_it_would_prolong(
    text: list[int], expected: dict[int, float]
) -> None:
    assert penalties(text) == expected


def test_multiplier_base_and_allowed_length() -> None:
    text = [A, B, C, D, A, B, C]
    assert penalties(text, multiplier=0.5, base=3.0, allowed_length=1) == {D: 0.5 * 9}
    assert penalties(text, allowed_length=3) == {D: 1.0}
    assert penalties(text, allowed_length=4) == {}


def test_only_the_last_tokens_are_searched() -> None:
    text = [A, B, C, D, D, D, A, B]
    assert penalties(text, last_n=8) == {C: 1.0}
    assert penalties(text, last_n=7) == {}
    assert penalties([A, B, C, *range(10, 1010), A, B], last_n=-1) == {C: 1.0}


def test_a_run_does_not_reach_back_over_a_breaker() -> None:
    text = [A, B, STOP, C, D, A, B, STOP, C]
    assert penalties(text) == {D: 4.0}
    assert penalties(text, {STOP: [()]}) == {}
    assert penalties(text, {STOP: [()]}, allowed_length=1) == {D: 1.0}


def test_a_breaker_of_several_tokens_breaks_where_it_is_whole() -> None:
    text = [A, B, STOP, C, D, A, B, STOP, C]
    assert penalties(text, {STOP: [(D,)]}) == {D: 4.0}
    assert penalties(text, {B: [(STOP,)]}, allowed_length=1) == {D: 1.0}


def test_a_token_that_is_a_breaker_by_itself_goes_free() -> None:
    text = [A, B, STOP, A, B]
    assert penalties(text) == {STOP: 1.0}
    assert penalties(text, {STOP: [()]}, allowed_length=1) == {}


def test_a_huge_penalty_is_finite_up_to_float_range() -> None:
    text = [A] * 60 + [B] + [A] * 60
    penalty = penalties(text, base=10.0, last_n=200)[A]
    assert penalty == pytest.approx(1e38, rel=1e-6)


def test_reset_forgets_and_a_clone_remembers() -> None:
    sampler = Dry(1.0, 2.0, 2, 64, {})
    for token in (A, B, C, A, B):
        sampler.accept(token)
    twin = sampler.clone()
    sampler.reset()
    for dry, expected in ((sampler, 0.0), (twin, -1.0)):
        candidates = Candidates(np.arange(5, dtype=np.int32), np.zeros(5, np.float32))
        dry.apply(candidates)
        assert candidates.logits[C] == expected


def slow_penalties(text: list[int], breaker: int, allowed_length: int) -> dict[int, float]:
    """The definition, tried at every place."""
    since_breaker = text[::-1].index(breaker) if breaker in text else len(text)
    longest: dict[int, int] = {}
    if since_breaker >= allowed_length and len(text) > allowed_length:
        for end in range(1, len(text)):
            length = 0
            while length < min(end, since_breaker) and text[end - 1 - length] == text[-1 - length]:
                length += 1
            if length >= allowed_length and text[end] != breaker:
                longest[text[end]] = max(length, longest.get(text[end], 0))
    return {token: 2.0 ** (length - allowed_length) for token, length in longest.items()}


@given(st.lists(st.integers(0, 3), max_size=40), st.integers(0, 4))
def test_it_agrees_with_the_definition(text: list[int], allowed_length: int) -> None:
    found = penalties(text, {3: [()]}, allowed_length=allowed_length)
    assert found == slow_penalties(text, 3, allowed_length)


PIECES = [b"a", b"\n", b"x\n", b"he", b"t", b"the", b"th", b"she", b" ", b"\xc3", b"\xa9"]


def by_bytes(text: str) -> list[int]:
    return [
        PIECES.index(bytes([byte])) if bytes([byte]) in PIECES else 90 for byte in text.encode()
    ]


@pytest.mark.parametrize(
    ("breaker", "table"),
    [
        ("\n", {1: [()], 2: [()]}),
        ("the", {4: [(90, 90)], 5: [()], 6: [(90,)]}),
        ("", {}),
        ("?", {}),
    ],
)
def test_a_breaker_is_found_whole_or_by_the_tokens_it_begins_with(
    breaker: str, table: dict[int, list[tuple[int, ...]]]
) -> None:
    assert sequence_breakers([breaker], PIECES, by_bytes) == table


def test_breakers_share_a_table_and_long_ones_are_cut() -> None:
    assert sequence_breakers(["\n", " "], PIECES, by_bytes) == {1: [()], 2: [()], 8: [()]}
    table = sequence_breakers(["a" * 60], PIECES, by_bytes)
    assert table == {0: [(0,) * 20]}
