"""Models with recurrent layers: their state follows each sequence through batches and back."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest
from make_gguf import write_model

from gguf_run import Model

TOKENS = [1, *range(100, 140)]
OTHER = [1, *range(300, 340)]


@pytest.fixture(scope="module", params=["qwen35", "qwen3next", "mamba", "jamba"])
def model(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Model]:
    path = tmp_path_factory.mktemp("hybrid") / "model.gguf"
    write_model(request.param, path)
    with Model(path, device="cpu", n_ctx=64, n_parallel=2) as model:
        yield model


def close(found: npt.NDArray[np.float32], expected: npt.NDArray[np.float32]) -> bool:
    return np.allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_two_sequences_in_a_batch_keep_their_states_apart(model: Model) -> None:
    alone = model.logits(TOKENS)
    first, second = model.engine.new_sequence(), model.engine.new_sequence()
    rows = []
    for start in range(0, len(TOKENS), 5):
        work = [(second, OTHER[start : start + 3]), (first, TOKENS[start : start + 5])]
        n_second = len(work[0][1])
        rows.append(model.engine.forward(work, every_row=True)[n_second:])
    first.close()
    second.close()
    assert close(np.concatenate(rows), alone)


def test_a_sequence_goes_back_to_the_end_of_its_prompt(model: Model) -> None:
    seq = model.engine.new_sequence()
    model.engine.evaluate(seq, TOKENS[:20])
    answer = [model.engine.forward([(seq, [token])])[0] for token in TOKENS[20:25]]
    seq.rollback(20)
    assert len(seq) == 20
    again = [model.engine.forward([(seq, [token])])[0] for token in TOKENS[20:25]]
    seq.close()
    assert np.array_equal(answer, again)


def test_where_no_state_was_kept_a_sequence_starts_anew(model: Model) -> None:
    seq = model.engine.new_sequence()
    model.engine.evaluate(seq, TOKENS)
    seq.rollback(10)
    assert len(seq) == 0
    logits = model.engine.evaluate(seq, OTHER)[-1]
    seq.close()
    assert close(logits, model.logits(OTHER)[-1])


def test_all_states_are_given_back(model: Model) -> None:
    n_free = model.engine.states.n_free
    assert len(list(model.generate(TOKENS, 5, temperature=0.0))) == 5
    assert model.engine.states.n_free == n_free
