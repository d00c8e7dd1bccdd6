"""Tokens drawn on the device, each step feeding the next, are those drawn on the host."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import loop_contract
import pytest
from loop_contract import PROMPT, assert_same, steps_by_host
from make_gguf import write_model

from gguf_run import Model
from gguf_run.engine import Engine


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
    on_device = [(c.token, c.logprob) for c in model.generate(PROMPT, 6, temperature=0)]
    seq = model.engine.new_sequence()
    model.engine.evaluate(seq, PROMPT)
    by_host = steps_by_host(model, seq, on_device[0][0], 5)
    seq.close()
    assert_same(on_device[1:], by_host)


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


@pytest.mark.parametrize("arch", ["gemma3", "gpt-oss"])
def test_layers_with_windows_get_new_pages_and_lose_old_ones(arch: str, tmp_path: Path) -> None:
    loop_contract.check_windows("emulated", arch, tmp_path)


@pytest.fixture(scope="module", params=["qwen35", "qwen3next", "lfm2", "mamba", "falcon-h1"])
def hybrid(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Model]:
    path = tmp_path_factory.mktemp("hybrid") / "model.gguf"
    write_model(request.param, path)
    with Model(path, "emulated", n_ctx=80) as model:
        yield model


@pytest.mark.parametrize("n_before", [0, 2])
@pytest.mark.parametrize("n_taken", [1, 2, 3, 6])
def test_a_step_too_many_is_taken_back_from_a_recurrent_state(
    hybrid: Model, n_taken: int, n_before: int
) -> None:
    loop_contract.check_taking_back(hybrid, n_taken, n_before)


def test_a_recurrent_state_without_a_spare_row_is_left_to_the_host(hybrid: Model) -> None:
    seq = hybrid.engine.new_sequence()
    hybrid.engine.evaluate(seq, PROMPT)
    taken = [hybrid.engine.states.take() for _ in range(hybrid.engine.states.n_free)]
    assert hybrid.engine.follow(seq, 5, 10) is None
    for row in taken:
        hybrid.engine.states.give(row)
    seq.close()


def test_a_recurrent_model_samples_the_hosts_tokens(
    hybrid: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"seed": 1, "frequency_penalty": 0.2, "repeat_last_n": 3, "ignore_eos": True}
    on_device = [c.token for c in hybrid.generate(PROMPT, 20, **options)]
    monkeypatch.setattr(Engine, "follow", lambda *_: None)
    assert on_device == [c.token for c in hybrid.generate(PROMPT, 20, **options)]
