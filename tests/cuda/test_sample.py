"""Tokens that the kernels draw are those of the host's chain, for the same logits and draws."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from emulated import emulated
from random_chains import Kernels, compare

from gguf_run import Model
from gguf_run.engine import Engine
from gguf_run.errors import ModelError
from gguf_run.graph_ops import MAX_SAMPLED
from gguf_run.sampling import SamplerChain, SamplingParams


@pytest.fixture(scope="module")
def kernels() -> Kernels:
    return Kernels(emulated())


def test_random_chains_draw_the_hosts_tokens(kernels: Kernels) -> None:
    assert compare(kernels, [1, 7, 384, 2048, 2049, 5000, 32000], 600, seed=1) == 0


def test_random_chains_draw_the_hosts_tokens_of_a_large_vocabulary(kernels: Kernels) -> None:
    assert compare(kernels, [151936], 20, seed=2) == 0


def test_no_token_is_drawn_where_all_are_ruled_out(kernels: Kernels) -> None:
    chain = SamplerChain(SamplingParams(logit_bias={0: -np.inf, 1: -np.inf}), 2)
    assert kernels.draw(chain, np.ones(2, np.float32)) == -1
    with pytest.raises(ModelError, match="loosen the logit biases"):
        chain.accept_drawn(-1, float("nan"))


@pytest.mark.parametrize(
    "options",
    [
        {"top_k": 0},
        {"top_k": 0, "top_p": 1.0, "min_keep": 2},
        {"top_k": MAX_SAMPLED + 1},
        {"typical_p": 0.9},
        {"xtc_probability": 0.5},
        {"mirostat": 2},
        {"dynatemp_range": 0.5},
        {"top_n_sigma": 1.0},
        {"dry_multiplier": 0.8, "dry_sequence_breakers": ()},
        {"samplers": ("temperature", "top_k"), "temperature": 0.5},
        {"samplers": ("top_k", "adaptive_p")},
        {"frequency_penalty": 1e38},
    ],
)
def test_other_chains_are_the_hosts(options: dict[str, Any]) -> None:
    assert SamplerChain(SamplingParams(seed=1, **options), 1000).on_device() is None


PROMPT = [1, 20, 30, 40, 20]
CHAINS: list[dict[str, Any]] = [
    {"seed": 1},
    {"seed": 2, "top_k": 200, "top_p": 1.0, "min_p": 0.0, "temperature": 1.5},
    {"seed": 3, "repeat_penalty": 1.5, "repeat_last_n": 4, "frequency_penalty": 0.3},
    {"seed": 4, "presence_penalty": 2.0, "repeat_last_n": 1000, "logit_bias": {5: 3.0, 6: 4.0}},
    {"temperature": 0, "repeat_penalty": 1.3, "repeat_last_n": 80},
    {"seed": 6, "top_k": 0, "top_p": 1.0, "frequency_penalty": 0.4},
    {"temperature": 0, "frequency_penalty": 0.5, "repeat_last_n": 81},
    {"seed": 5, "top_k": 250, "top_p": 0.5, "temperature": 3.0, "repeat_last_n": 2},
]


@pytest.fixture(scope="module")
def model(tiny_llama: Path) -> Iterator[Model]:
    with Model(tiny_llama, device="emulated", n_ctx=80) as model:
        yield model


@pytest.mark.parametrize("options", CHAINS, ids=str)
def test_texts_drawn_on_the_device_are_the_hosts(
    model: Model, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    follow, followed = Engine.follow, []
    monkeypatch.setattr(
        Engine, "follow", lambda *args: followed.append(follow(*args)) or followed[-1]
    )
    on_device = list(model.generate(PROMPT, ignore_eos=True, **options))
    assert followed[0] is not None
    monkeypatch.setattr(Engine, "follow", lambda *_: None)
    by_host = list(model.generate(PROMPT, ignore_eos=True, **options))
    assert [c.token for c in on_device] == [c.token for c in by_host]
    assert len(on_device) == model.n_ctx - len(PROMPT) + 1
    log_probs = [[c.logprob for c in chunks] for chunks in (on_device, by_host)]
    assert np.allclose(*log_probs, atol=1e-5)


def test_a_full_context_ends_the_draws(model: Model) -> None:
    chain = SamplerChain(SamplingParams(seed=1, repeat_penalty=1.1), 384)
    seq = model.engine.new_sequence()
    model.engine.evaluate(seq, PROMPT)
    followers = model.engine.follow(seq, 7, 1000, chain.on_device())
    assert followers is not None
    assert len(list(followers)) == model.n_ctx - len(PROMPT)
    seq.close()


@pytest.mark.parametrize("options", [{"seed": 3}, {"temperature": 0.0}], ids=str)
def test_two_texts_side_by_side_are_what_each_is_alone(
    tiny_llama: Path, options: dict[str, Any]
) -> None:
    prompts = [PROMPT, [1, 9, 8, 7]]
    with Model(tiny_llama, device="emulated", n_ctx=80, n_parallel=2) as model:
        alone = [[c.token for c in model.generate(p, 12, **options)] for p in prompts]
        pairs = zip(*(model.generate(p, 12, **options) for p in prompts), strict=True)
        together = zip(*([c.token for c in pair] for pair in pairs), strict=True)
        assert [list(tokens) for tokens in together] == alone


def test_a_token_that_cannot_be_drawn_ends_the_text(model: Model) -> None:
    never = dict.fromkeys(range(384), -np.inf)
    chunks = model.generate(PROMPT, 10, logit_bias={**never, 7: -3e38, 8: 0.0})
    assert next(chunks).token == 8
    with pytest.raises(ModelError, match="loosen"):
        list(model.generate(PROMPT, 10, logit_bias=never))
    assert model.engine.pool.n_free == model.engine.pool.n_page - 1
    chunks.close()
    assert model.engine.pool.n_free == model.engine.pool.n_page


def test_a_chain_goes_on_behind_the_tokens_that_a_device_drew(model: Model) -> None:
    params = SamplingParams(seed=9, repeat_penalty=1.2)
    chain, twin = SamplerChain(params, 384), SamplerChain(params, 384)
    logits = np.linspace(0, 5, 384, dtype=np.float32)
    for _ in range(5):
        token = twin.sample(logits).token
        twin.accept(token)
        chain.accept_drawn(token, -1.0)
    assert chain.sample(logits).token == twin.sample(logits).token
