"""Rows of recurrent state: read, written, kept to go back to, given back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gguf_run.errors import ModelError
from gguf_run.kv_cache import PagePool, Sequence
from gguf_run.states import ZEROS, SequenceState, StatePool


def test_a_sequence_begins_with_zeros_and_goes_on_with_its_row() -> None:
    state = SequenceState(StatePool(2))
    read, written = state.advance(1)
    assert read == ZEROS
    assert state.advance(1) == (written, written)


def test_after_a_prompt_its_row_is_kept() -> None:
    state = SequenceState(StatePool(2))
    _, prompt_row = state.advance(7)
    read, written = state.advance(1)
    assert read == prompt_row
    assert written != prompt_row
    assert state.advance(1) == (written, written)
    assert state.rollback(7) == 7
    assert state.advance(1)[0] == prompt_row


def test_between_the_lengths_that_are_kept_only_the_lower_one_is_left() -> None:
    state = SequenceState(StatePool(2))
    for n_tok in (7, 1, 1):
        state.advance(n_tok)
    assert state.rollback(8) == 7
    assert state.rollback(6) == 0
    assert state.advance(1)[0] == ZEROS


def test_without_a_spare_row_a_state_is_written_over() -> None:
    state = SequenceState(StatePool(1))
    _, row = state.advance(7)
    assert state.advance(1) == (row, row)
    assert state.rollback(7) == 0


def test_tokens_that_have_not_run_yet_can_be_taken_back() -> None:
    seq = Sequence(PagePool(4), 100, state=SequenceState(StatePool(2)))
    seq.append([1, 2, 3])
    assert seq.state is not None
    seq.state.advance(3)
    seq.append([4, 5])
    seq.rollback(3)
    assert seq.tokens == [1, 2, 3]
    seq.rollback(2)
    assert seq.tokens == []


def test_a_fork_starts_with_no_tokens_and_a_row_of_its_own() -> None:
    pool = StatePool(2)
    seq = Sequence(PagePool(4), 200, state=SequenceState(pool))
    seq.append(list(range(130)))
    assert len(seq.fork(128)) == 0
    assert pool.n_free == 0


def test_too_many_sequences_are_refused() -> None:
    pool = StatePool(1)
    SequenceState(pool)
    with pytest.raises(ModelError, match="all 1 recurrent states are in use"):
        SequenceState(pool)


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 9)), max_size=30))
def test_rows_are_neither_lost_nor_given_twice(moves: list[tuple[bool, int]]) -> None:
    pool = StatePool(5)
    states = [SequenceState(pool), SequenceState(pool)]
    for i, (forward, n) in enumerate(moves):
        state = states[i % 2]
        if forward:
            state.advance(n)
        else:
            assert state.rollback(n) <= n
    for state in states:
        state.close()
    assert sorted(pool.take() for _ in range(pool.n_free)) == [0, 1, 2, 3, 4]


def test_alternating_steps_keep_the_state_before_the_last_token() -> None:
    state = SequenceState(StatePool(2))
    _, own = state.advance(1)
    read, written, spare = state.begin()
    assert (read, spare) == (own, own)
    assert state.rollback(1) == 1
    assert state.advance(1) == (own, own)
    read, written, spare = state.begin()
    state.go_on()
    assert state.rollback(3) == 3
    assert state.advance(1) == (written, written)


def test_alternating_steps_leave_what_was_kept_of_the_prompt() -> None:
    pool = StatePool(3)
    state = SequenceState(pool)
    _, prompt_row = state.advance(7)
    rows = state.begin()
    assert rows[0] == prompt_row
    assert len(set(rows)) == 3
    for _ in range(4):
        state.go_on()
    state.end()
    assert state.length == 12
    assert pool.n_free == 1
    assert state.rollback(7) == 7
    assert state.advance(1)[0] == prompt_row


def test_alternating_needs_a_row_more() -> None:
    state = SequenceState(StatePool(2))
    assert state.can_alternate
    state.advance(7)
    assert not state.can_alternate
