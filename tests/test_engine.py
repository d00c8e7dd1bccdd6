"""Batches of any sequences, in any chunks, give what each sequence gives by itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from gguf_run import Model, ModelError
from gguf_run.engine import MAX_EXECUTABLES, Engine

A = [1, 20, 30, 40, 50, 60, 70]
B = [1, 300, 301, 302]


@pytest.fixture
def engine(tiny_llama: Path) -> Iterator[Engine]:
    with Model(tiny_llama, device="cpu", n_ctx=100, n_parallel=3) as model:
        yield model.engine


def alone(engine: Engine, tokens: list[int]) -> np.ndarray:
    seq = engine.new_sequence()
    logits = engine.evaluate(seq, tokens, every_row=True)
    seq.close()
    return logits


def test_two_sequences_interleaved_are_as_each_alone(engine: Engine) -> None:
    one, two = engine.new_sequence(), engine.new_sequence()
    first = engine.forward([(one, A[:3]), (two, B[:1])], every_row=True)
    second = engine.forward([(two, B[1:3]), (one, A[3:4])], every_row=True)
    third = engine.forward([(one, A[4:]), (two, B[3:])], every_row=True)
    found_a = np.concatenate([first[:3], second[2:], third[:3]])
    found_b = np.concatenate([first[3:], second[:2], third[3:]])
    np.testing.assert_allclose(found_a, alone(engine, A), atol=1e-4)
    np.testing.assert_allclose(found_b, alone(engine, B), atol=1e-4)


def test_the_last_row_alone_is_what_generation_needs(engine: Engine) -> None:
    one, two = engine.new_sequence(), engine.new_sequence()
    found = engine.forward([(one, A), (two, B)])
    np.testing.assert_allclose(found[0], alone(engine, A)[-1], atol=1e-4)
    np.testing.assert_allclose(found[1], alone(engine, B)[-1], atol=1e-4)


def test_a_rolled_back_sequence_goes_on_as_if_nothing_had_been(engine: Engine) -> None:
    seq = engine.new_sequence()
    engine.evaluate(seq, A[:4] + B)
    seq.rollback(4)
    found = engine.evaluate(seq, A[4:], every_row=True)
    np.testing.assert_allclose(found, alone(engine, A)[4:], atol=1e-4)


def test_a_fork_goes_on_from_the_shared_pages(engine: Engine) -> None:
    tokens = [1] + [(7 * i) % 380 for i in range(89)]
    seq = engine.new_sequence()
    engine.evaluate(seq, tokens)
    twin = seq.fork(len(tokens))
    found = engine.evaluate(twin, [*tokens[len(twin) :], 5])[-1]
    np.testing.assert_allclose(found, alone(engine, [*tokens, 5])[-1], atol=1e-4)


def test_a_step_is_filled_up_to_no_more_than_the_context(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = [1] + [(7 * i) % 380 for i in range(89)]
    expected = alone(engine, tokens)[-1]
    monkeypatch.setattr(engine.backend, "step_size", lambda n_tok: 2 * n_tok)
    for n in (70, 20):
        found = engine.evaluate(engine.new_sequence(), tokens[:n])
        assert found.shape == (1, 384)
    found = engine.evaluate(engine.new_sequence(), tokens)
    np.testing.assert_allclose(found[-1], expected, atol=1e-4)
    assert {shape.n_tok for shape in engine._ready} >= {40, 100}
    assert max(shape.n_tok for shape in engine._ready) == engine.n_ctx


@pytest.mark.parametrize("token", [-1, 384])
def test_an_id_that_is_no_token_is_refused(engine: Engine, token: int) -> None:
    seq = engine.new_sequence()
    with pytest.raises(ModelError, match=r"expected an id in 0\.\.383"):
        engine.forward([(seq, [1, token])])
    assert len(seq) == 0


def test_a_batch_that_does_not_fit_changes_no_sequence(engine: Engine) -> None:
    one, two = engine.new_sequence(), engine.new_sequence()
    with pytest.raises(ModelError, match="do not fit the context of 100"):
        engine.forward([(one, A), (two, [1] * 101)])
    assert (len(one), len(two)) == (0, 0)


def test_batch_shapes_kept_ready_are_bounded(engine: Engine) -> None:
    for n_tok in range(1, MAX_EXECUTABLES + 4):
        alone(engine, [1] * n_tok)
    assert len(engine._ready) <= MAX_EXECUTABLES
