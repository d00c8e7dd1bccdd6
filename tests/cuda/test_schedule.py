"""Streams and waits keep every edge of a plan, and let independent branches go."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gguf_run.cuda.schedule import MAX_STREAMS, Placement, place


@st.composite
def edges(draw: st.DrawFn) -> list[tuple[int, ...]]:
    n = draw(st.integers(1, 40))
    return [
        tuple(sorted(draw(st.sets(st.integers(0, i - 1), max_size=4)))) if i else ()
        for i in range(n)
    ]


def done_before(placements: list[Placement]) -> list[set[int]]:
    """Per step, the steps that must have finished: those ahead in its stream and those awaited."""
    done: list[set[int]] = []
    last: dict[int, int] = {}
    for index, placement in enumerate(placements):
        direct = [*placement.waits, *([last[placement.stream]] if placement.stream in last else [])]
        done.append(set().union(*({step} | done[step] for step in direct)))
        last[placement.stream] = index
    return done


@given(edges())
def test_every_edge_is_kept(needed: list[tuple[int, ...]]) -> None:
    placements = place(needed, MAX_STREAMS)
    for step, done in enumerate(done_before(placements)):
        assert set(needed[step]) <= done
        assert placements[step].stream < MAX_STREAMS


@given(edges())
def test_no_step_waits_for_what_is_known_to_be_done(needed: list[tuple[int, ...]]) -> None:
    placements = place(needed, MAX_STREAMS)
    for index, placement in enumerate(placements):
        for step in placement.waits:
            fewer = [*placements[: index + 1]]
            waits = tuple(w for w in placement.waits if w != step)
            fewer[index] = Placement(placement.stream, waits)
            assert step not in done_before(fewer)[index]


def test_a_chain_stays_in_one_stream() -> None:
    assert place([(), (0,), (1,), (2,)], MAX_STREAMS) == [Placement(0, ())] * 4


def test_branches_run_beside_each_other_and_join() -> None:
    q, k, v = (0,), (0,), (0,)
    placements = place([(), q, k, v, (1, 2, 3)], MAX_STREAMS)
    assert [p.stream for p in placements[:4]] == [0, 0, 1, 2]
    assert [p.waits for p in placements] == [(), (), (0,), (0,), (1, 2)]
    assert placements[4].stream == 2
