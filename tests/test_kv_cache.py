"""Pages: no two sequences write the same one, and all of them come back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gguf_run.errors import ModelError
from gguf_run.kv_cache import (
    PAGE_SIZE,
    PagePool,
    Sequence,
    WindowPages,
    pages_for,
    window_pages,
)


def test_slots_follow_the_block_table() -> None:
    pool = PagePool(3)
    first, second = Sequence(pool, 200), Sequence(pool, 200)
    assert first.append([1] * PAGE_SIZE).tolist() == list(range(PAGE_SIZE))
    assert second.append([2]).tolist() == [PAGE_SIZE]
    assert first.append([3]).tolist() == [2 * PAGE_SIZE]
    assert first.pages == [0, 2]


def test_a_full_context_is_refused_and_changes_nothing() -> None:
    seq = Sequence(PagePool(4), 10)
    seq.append([0] * 8)
    with pytest.raises(ModelError, match="11 tokens do not fit the context of 10"):
        seq.append([0] * 3)
    assert len(seq) == 8


def test_a_full_pool_is_refused_and_changes_nothing() -> None:
    pool = PagePool(1)
    seq, other = Sequence(pool, 1000), Sequence(pool, 1000)
    seq.append([0])
    with pytest.raises(ModelError, match="KV cache has 0 tokens free"):
        other.append([0])
    assert (len(other), other.pages, pool.n_free) == (0, [], 0)


def test_rollback_gives_pages_back_that_hold_nothing_any_more() -> None:
    pool = PagePool(3)
    seq = Sequence(pool, 1000)
    seq.append(list(range(2 * PAGE_SIZE + 1)))
    seq.rollback(PAGE_SIZE)
    assert (len(seq), seq.pages, pool.n_free) == (PAGE_SIZE, [0], 2)
    assert seq.append([7]).tolist()[0] % PAGE_SIZE == 0


def test_a_fork_shares_full_pages_only() -> None:
    pool = PagePool(4)
    seq = Sequence(pool, 1000)
    seq.append(list(range(PAGE_SIZE + 5)))
    twin = seq.fork(PAGE_SIZE + 5)
    assert (len(twin), twin.pages) == (PAGE_SIZE, [0])
    seq.close()
    assert pool.n_free == 3
    twin.close()
    assert pool.n_free == 4


def test_a_page_that_a_fork_shares_is_not_written_again() -> None:
    pool = PagePool(4)
    seq = Sequence(pool, 1000)
    seq.append(list(range(PAGE_SIZE)))
    twin = seq.fork(PAGE_SIZE)
    seq.rollback(5)
    assert len(seq) == 0
    assert not set(seq.append([7]).tolist()) & set(range(PAGE_SIZE))
    assert twin.tokens == list(range(PAGE_SIZE))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 150)), max_size=40))
def test_no_slot_is_written_by_two_sequences(actions: list[tuple[int, int]]) -> None:
    pool = PagePool(8)
    seqs = [Sequence(pool, 300)]
    owner: dict[int, tuple[int, int]] = {}
    for action, n in actions:
        seq = seqs[n % len(seqs)]
        if action == 0 and n:
            start = len(seq)
            try:
                slots = seq.append([n] * n)
            except ModelError:
                continue
            for i, slot in enumerate(slots.tolist()):
                owner[slot] = (n, start + i)
        elif action == 1:
            seq.rollback(n)
        elif action == 2 and len(seqs) < 4:
            seqs.append(seq.fork(n))
        elif action == 3:
            seq.close()
        for s in seqs:
            positions = np.arange(len(s))
            pages = np.asarray(s.pages)
            for p in positions:
                slot = int(pages[p // PAGE_SIZE] * PAGE_SIZE + p % PAGE_SIZE)
                assert owner[slot] == (s.tokens[p], p)
    for s in seqs:
        s.close()
    assert pool.n_free == 8


@given(st.lists(st.tuples(st.sampled_from(["append", "rollback", "fork"]), st.integers(1, 90))))
def test_a_window_always_holds_the_keys_that_the_next_token_sees(
    moves: list[tuple[str, int]],
) -> None:
    window, pool = 50, PagePool(400)
    seq = Sequence(PagePool(400), 4000, window=WindowPages(pool, window))
    others = []
    for kind, n in moves:
        if kind == "append":
            seq.append([0] * n)
            held = seq.window
            assert held is not None
            oldest = max(0, len(seq) - n - window + 1)
            assert held.first <= oldest // PAGE_SIZE
            assert held.first + len(held.pages) == pages_for(len(seq))
            assert len(held.pages) <= window_pages(window, 90, 4000)
            assert len(set(seq.window_slots(n).tolist())) == n
        elif kind == "rollback":
            before = max(0, len(seq) - n)
            seq.rollback(before)
            assert len(seq) in (0, before, before - before % PAGE_SIZE)
        else:
            others.append(seq.fork(len(seq)))
    for each in (seq, *others):
        each.close()
    assert pool.n_free == 400


def test_pages_that_nobody_asked_for_take_no_memory() -> None:
    pool = PagePool(1 << 40)
    assert (pool.take(), pool.take(), pool.n_free) == (0, 1, (1 << 40) - 2)
    pool.drop(0)
    assert (pool.take(), pool.take()) == (0, 2)
