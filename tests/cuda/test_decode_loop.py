"""Tokens drawn on the device, each step feeding the next, are those drawn on the host."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gguf_run import Model

PROMPT = [1, 20, 30, 40]


@pytest.fixture(scope="module")
def model(tiny_llama: Path) -> Iterator[Model]:
    with Model(tiny_llama, device="emulated", n_ctx=80) as model:
        yield model


def by_host(model: Model, prompt: list[int], n_tok: int) -> list[int]:
    seq = model.engine.new_sequence()
    tokens = [int(model.engine.evaluate(seq, prompt)[-1].argmax())]
    while len(tokens) < n_tok:
        tokens.append(int(model.engine.forward([(seq, tokens[-1:])])[-1].argmax()))
    seq.close()
    return tokens


def test_tokens_are_the_hosts_across_pages(model: Model) -> None:
    chunks = list(model.generate(PROMPT, 70, temperature=0, logit_bias={}))
    expected = by_host(model, PROMPT, 70)
    found = [c.token for c in chunks]
    assert found == expected[: len(found)]
    assert len(found) == 70 or chunks[-1].finish_reason == "stop"


def test_log_probabilities_are_the_hosts(model: Model) -> None:
    on_device = [c.logprob for c in model.generate(PROMPT, 6, temperature=0)]
    # A bias that changes nothing keeps the draw on the host.
    on_host = [c.logprob for c in model.generate(PROMPT, 6, temperature=0, logit_bias={5: 0.0})]
    assert on_device == pytest.approx(on_host, abs=1e-5)


@pytest.mark.parametrize("n_taken", [1, 2, 5])
def test_a_loop_left_early_leaves_the_sequence_as_the_host_would(
    model: Model, n_taken: int
) -> None:
    engine = model.engine
    seq = engine.new_sequence()
    first = int(engine.evaluate(seq, PROMPT)[-1].argmax())
    followers = engine.follow(seq, first, 20)
    assert followers is not None
    taken = [next(followers)[0] for _ in range(n_taken)]
    followers.close()
    assert seq.tokens == [*PROMPT, first, *taken[:-1]]
    found = int(engine.forward([(seq, taken[-1:])])[-1].argmax())
    assert found == by_host(model, PROMPT, n_taken + 2)[-1]
    seq.close()


def test_a_full_context_ends_the_loop(model: Model) -> None:
    engine = model.engine
    seq = engine.new_sequence()
    token = int(engine.evaluate(seq, PROMPT)[-1].argmax())
    followers = engine.follow(seq, token, 1000)
    assert followers is not None
    assert len(list(followers)) == engine.n_ctx - len(PROMPT)
    assert len(seq) == engine.n_ctx
    seq.close()
    assert engine.pool.n_free == engine.pool.n_page


def test_a_second_loop_starts_from_its_own_sequence(model: Model) -> None:
    other = [1, 50, 60]
    first = [c.token for c in model.generate(PROMPT, 8, temperature=0)]
    second = [c.token for c in model.generate(other, 8, temperature=0)]
    assert first == by_host(model, PROMPT, len(first))
    assert second == by_host(model, other, len(second))
