"""The loop from prompt to text: stop strings, ends, timings."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gguf_run import Model, ModelError
from gguf_run.generation import StopStrings

PROMPT = [1, 20, 30, 40]


@pytest.fixture
def model(tiny_llama: Path) -> Iterator[Model]:
    with Model(tiny_llama, device="cpu", n_ctx=64) as model:
        yield model


@given(st.lists(st.text("ab ", max_size=4), max_size=8), st.sampled_from([["ab"], ["aab", "b "]]))
def test_stop_strings_cut_wherever_the_chunks_end(chunks: list[str], stops: list[str]) -> None:
    watch, shown, stopped = StopStrings(stops), "", False
    for chunk in chunks:
        text, stopped = watch.push(chunk)
        shown += text
        if stopped:
            break
    whole = "".join(chunks)
    found = [i for i in map(whole.find, stops) if i >= 0]
    if stopped:
        assert shown in {whole[:i] for i in found}
    else:
        assert not found
        assert shown + watch.flush() == whole


def test_what_cannot_become_a_stop_string_is_shown_at_once() -> None:
    watch = StopStrings(["END"])
    assert watch.push("abE") == ("ab", False)
    assert watch.push("x") == ("Ex", False)
    assert watch.push("yEND z") == ("y", True)


def test_greedy_takes_the_likeliest_token_and_says_how_likely(model: Model) -> None:
    chunk = next(model.generate(PROMPT, 1, temperature=0))
    logits = model.logits(PROMPT)[-1].astype("f8")
    assert chunk.token == logits.argmax()
    expected = logits.max() - np.log(np.exp(logits - logits.max()).sum()) - logits.max()
    assert chunk.logprob == pytest.approx(expected, abs=1e-4)


def test_max_tokens_ends_with_length(model: Model) -> None:
    chunks = list(model.generate(PROMPT, 5, temperature=0, ignore_eos=True))
    assert [c.finish_reason for c in chunks] == [None] * 4 + ["length"]


def test_no_tokens_asked_for_is_no_chunk(model: Model) -> None:
    assert list(model.generate(PROMPT, 0)) == []


def test_a_full_context_ends_with_length_after_its_last_token(model: Model) -> None:
    chunks = list(model.generate(PROMPT, temperature=0, ignore_eos=True))
    assert len(chunks) == 64 - len(PROMPT) + 1
    assert chunks[-1].finish_reason == "length"


def test_pieces_join_to_the_detokenised_text(model: Model) -> None:
    chunks = list(model.generate(PROMPT, 30, seed=3, temperature=2.0, ignore_eos=True))
    whole = model.detokenize([*PROMPT, *(c.token for c in chunks)])
    assert whole.endswith("".join(c.text for c in chunks))


def test_the_same_seed_draws_the_same_tokens(model: Model) -> None:
    draws = [
        [c.token for c in model.generate(PROMPT, 20, seed=seed, temperature=1.5)]
        for seed in (5, 5, 6)
    ]
    assert draws[0] == draws[1] != draws[2]


def test_a_stop_string_ends_the_text_before_it(model: Model) -> None:
    options = {"seed": 3, "temperature": 2.0, "ignore_eos": True}
    whole = "".join(c.text for c in model.generate(PROMPT, 30, **options))
    stop = whole[4:6]
    chunks = list(model.generate(PROMPT, 30, stop=stop, **options))
    assert "".join(c.text for c in chunks) == whole[: whole.index(stop)]
    assert chunks[-1].finish_reason == "stop"


def test_an_empty_stop_string_is_refused(model: Model) -> None:
    with pytest.raises(ValueError, match="non-empty"):
        model.generate(PROMPT, stop="")


def test_an_end_of_generation_token_ends_with_stop_and_shows_nothing(model: Model) -> None:
    eos = model.tokenizer.eos
    chunks = list(model.generate(PROMPT, 9, temperature=0, logit_bias={eos: 1e6}))
    assert [(c.text, c.token, c.finish_reason) for c in chunks] == [("", eos, "stop")]


def test_ignore_eos_goes_on(model: Model) -> None:
    eos = model.tokenizer.eos
    chunks = list(model.generate(PROMPT, 9, seed=1, temperature=5.0, ignore_eos=True))
    assert len(chunks) == 9
    assert all(c.token != eos for c in chunks)


def test_closing_early_gives_the_pages_back(model: Model) -> None:
    free = model.engine.pool.n_free
    generation = model.generate(PROMPT, 30, temperature=0, ignore_eos=True)
    next(generation)
    assert model.engine.pool.n_free < free
    generation.close()
    assert model.engine.pool.n_free == free
    assert list(generation) == []


def test_timings_count_prompt_and_generated_tokens(model: Model) -> None:
    generation = model.generate(PROMPT, 7, temperature=0, ignore_eos=True)
    list(generation)
    timings = generation.timings
    assert (timings.n_prompt, timings.n_generated) == (len(PROMPT), 7)
    assert timings.prompt_seconds > 0
    assert timings.generate_seconds > 0


def test_an_empty_prompt_is_refused(model: Model) -> None:
    with pytest.raises(ModelError, match="at least one token"):
        model.generate([])


def test_a_prompt_that_fills_the_context_is_refused(model: Model) -> None:
    with pytest.raises(ModelError, match="the prompt has 64 tokens"):
        model.generate([1] * 64)


def test_a_parameter_out_of_range_is_refused_by_name(model: Model) -> None:
    with pytest.raises(ModelError, match="top_p"):
        model.generate(PROMPT, top_p=7.0)


def test_the_likeliest_tokens_can_be_told(model: Model) -> None:
    chunks = list(model.generate(PROMPT, 6, temperature=0, logprobs=3))
    plain = list(model.generate(PROMPT, 6, temperature=0))
    assert [c.token for c in chunks] == [c.token for c in plain]
    for chunk in chunks:
        assert chunk.top_logprobs[0] == (chunk.token, pytest.approx(chunk.logprob, abs=1e-5))
        assert len(chunk.top_logprobs) == 3
        assert list(chunk.top_logprobs) == sorted(chunk.top_logprobs, key=lambda top: -top[1])
    whole = next(model.generate(PROMPT, 1, logprobs=10**6)).top_logprobs
    assert np.exp([logprob for _, logprob in whole]).sum() == pytest.approx(1.0)
    assert plain[0].top_logprobs == ()
    with pytest.raises(ModelError, match="logprobs: expected at least 0"):
        model.generate(PROMPT, 1, logprobs=-1)
