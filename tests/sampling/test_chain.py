"""The chain as a whole: order, draws, state, refusals."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gguf_run.errors import ModelError
from gguf_run.sampling import SAMPLER_NAMES, SamplerChain, SamplingParams
from gguf_run.sampling.candidates import F32

from .tables import logits_of

PROBS = [0.15, 0.4, 0.1, 0.35]
PLAIN = {"top_k": 0, "top_p": 1.0, "min_p": 0.0, "temperature": 1.0}


def chain(n_vocab: int = 4, **params: object) -> SamplerChain:
    return SamplerChain(SamplingParams(**{"seed": 1, **params}), n_vocab)  # type: ignore[arg-type]


def drawn(sampler: SamplerChain, logits: F32, n: int) -> list[int]:
    return [sampler.sample(logits).token for _ in range(n)]


def random_logits(seed: int, n: int = 500) -> F32:
    return np.random.RandomState(seed).standard_normal(n).astype(np.float32) * 3


def test_the_default_chain_by_hand() -> None:
    # top-k 40 and top-p 0.95 keep 0.6 0.3 0.06; min-p 0.05 of 0.6 keeps them; then p^(1 / 0.8).
    ids, probs = chain(5).probabilities(logits_of([0.06, 0.025, 0.6, 0.015, 0.3]))
    weights = np.array([0.6, 0.3, 0.06]) ** 1.25
    assert ids.tolist() == [2, 4, 0]
    assert probs == pytest.approx(weights / weights.sum(), rel=1e-5)
    assert (ids.dtype, probs.dtype) == (np.int32, np.float32)


def test_with_all_samplers_off_the_tokens_stay_in_vocabulary_order() -> None:
    ids, probs = chain(**PLAIN).probabilities(logits_of(PROBS))
    assert ids.tolist() == [0, 1, 2, 3]
    assert probs == pytest.approx(PROBS)


def test_a_draw_takes_the_first_candidate_at_which_the_sum_reaches_it() -> None:
    # Uniforms of seed 42: 0.7965, 0.1834, 0.7797, 0.5969, 0.4458.
    assert drawn(chain(seed=42, **PLAIN), logits_of(PROBS), 5) == [3, 1, 3, 2, 1]


def test_draws_follow_the_distribution() -> None:
    counts = np.bincount(drawn(chain(**PLAIN), logits_of(PROBS), 4000), minlength=4)
    assert counts / 4000 == pytest.approx(PROBS, abs=0.03)


def test_a_draw_is_spent_even_where_one_candidate_is_left() -> None:
    straight, after = chain(seed=5, **PLAIN), chain(seed=5, **PLAIN)
    after.sample(np.array([0, -np.inf, -np.inf, -np.inf], np.float32))
    straight.sample(logits_of(PROBS))
    assert drawn(straight, logits_of(PROBS), 50) == drawn(after, logits_of(PROBS), 50)


def test_greedy_takes_the_best_and_the_first_of_equals() -> None:
    assert chain(temperature=0).sample([1.0, 3.0, 3.0, 2.0]).token == 1
    assert chain(temperature=-1).sample([1.0, 3.0, 3.5, 2.0]).token == 2


def test_greedy_comes_after_the_penalties() -> None:
    greedy = chain(temperature=0, repeat_penalty=2.0)
    greedy.accept(1)
    assert greedy.sample([1.0, 3.0, 2.0, 0.0]).token == 2


def test_greedy_takes_what_typical_leaves() -> None:
    probs = [0.5, 0.2, 0.2, 0.1]
    assert chain(temperature=0, typical_p=0.3).sample(logits_of(probs)).token in (1, 2)


def test_greedy_with_a_dynamic_range_is_not_greedy() -> None:
    sampler = chain(temperature=0, dynatemp_range=2.0)
    assert len(set(drawn(sampler, np.zeros(4, np.float32), 50))) > 1


def test_samplers_run_in_the_order_given() -> None:
    # Top-p first sees all of 0.4 0.35 0.15 0.1 and keeps two; after top-k 2 it keeps one of them.
    probs = logits_of(PROBS)
    straight = chain(top_p=0.5, top_k=2, min_p=0, samplers=("top_p", "top_k"))
    turned = chain(top_p=0.5, top_k=2, min_p=0, samplers=("top_k", "top_p"))
    assert straight.probabilities(probs)[0].tolist() == [1, 3]
    assert turned.probabilities(probs)[0].tolist() == [1]


def test_an_empty_order_leaves_the_bare_distribution() -> None:
    assert chain(samplers=()).probabilities(logits_of(PROBS))[1] == pytest.approx(PROBS)


def test_adaptive_p_ends_the_chain_wherever_it_is_named() -> None:
    sampler = chain(samplers=("adaptive_p", "top_k"), top_k=3, adaptive_target=0.2)
    ids, probs = sampler.probabilities(logits_of(PROBS))
    assert ids.tolist() == [1, 3, 0]
    assert probs.argmax() == 2


@pytest.mark.parametrize("mirostat", [1, 2])
def test_mirostat_replaces_the_other_samplers(mirostat: int) -> None:
    straight = chain(500, mirostat=mirostat)
    loaded = chain(500, mirostat=mirostat, top_k=1, min_p=1.0, repeat_penalty=5.0)
    logits = random_logits(1)
    assert straight.probabilities(logits)[0].tolist() == loaded.probabilities(logits)[0].tolist()


def test_logit_bias_comes_first_and_can_rule_out_all_but_one() -> None:
    sampler = chain(logit_bias={0: -np.inf, 1: -np.inf, 2: 0.5, 3: -np.inf})
    ids, probs = sampler.probabilities(logits_of(PROBS))
    assert (ids.tolist(), probs.tolist()) == ([2], [1.0])


def test_every_option_that_is_off_leaves_no_trace() -> None:
    logits = random_logits(2)
    assert drawn(chain(500), logits, 20) == drawn(
        chain(500, dry_multiplier=0.0, xtc_probability=0.9, xtc_threshold=0.6, repeat_last_n=0),
        logits,
        20,
    )


def test_the_logprob_is_that_of_the_model_alone() -> None:
    sampler = chain(temperature=3.0, logit_bias={0: 2.0})
    for _ in range(20):
        sampled = sampler.sample(logits_of(PROBS))
        assert sampled.logprob == pytest.approx(np.log(PROBS[sampled.token]), rel=1e-5)


def test_the_logits_are_left_as_they_are() -> None:
    logits = random_logits(3)
    before = logits.copy()
    sampler = chain(500, repeat_penalty=1.5, top_n_sigma=1.0, top_k=0, logit_bias={4: 2.0})
    sampler.accept(7)
    sampler.sample(logits)
    assert (logits == before).all()
    logits.setflags(write=False)
    sampler.sample(logits)


def test_the_same_seed_gives_the_same_tokens_and_no_seed_gives_others() -> None:
    logits = random_logits(4)
    first, second = chain(500, seed=None, **PLAIN), chain(500, seed=-1, **PLAIN)
    assert first.seed != second.seed
    again = chain(500, seed=first.seed, **PLAIN)
    assert drawn(first, logits, 50) == drawn(again, logits, 50)


ALL_ON: dict[str, object] = {
    "repeat_penalty": 1.3,
    "dry_multiplier": 0.8,
    "dry_sequence_breakers": (),
    "xtc_probability": 0.5,
    "typical_p": 0.9,
    "dynatemp_range": 0.3,
}


@pytest.mark.parametrize(
    "params",
    [
        {},
        ALL_ON,
        {"mirostat": 1},
        {"mirostat": 2},
        {"samplers": ("min_p", "adaptive_p"), "adaptive_target": 0.3},
    ],
    ids=["default", "all", "mirostat 1", "mirostat 2", "adaptive-p"],
)
def test_reset_begins_anew_and_a_clone_goes_on(params: dict[str, object]) -> None:
    def run(sampler: SamplerChain) -> list[int]:
        tokens = []
        for i in range(30):
            tokens.append(sampler.sample(random_logits(i, 50)).token)
            sampler.accept(tokens[-1])
        return tokens

    sampler = chain(50, **params)
    first = run(sampler)
    twin = sampler.clone()
    assert run(twin) == run(sampler)
    sampler.reset()
    assert run(sampler) == first


@pytest.mark.parametrize("params", [{}, ALL_ON, {"mirostat": 2}])
def test_looking_at_the_probabilities_changes_nothing(params: dict[str, object]) -> None:
    watched, unwatched = chain(500, **params), chain(500, **params)
    for i in range(20):
        logits = random_logits(i)
        ids, probs = watched.probabilities(logits)
        token = watched.sample(logits).token
        assert probs[ids.tolist().index(token)] > 0
        assert token == unwatched.sample(logits).token


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_logits_that_are_not_finite_are_refused_with_their_token(bad: float) -> None:
    logits = logits_of(PROBS)
    logits[2] = bad
    for params in ({}, {"temperature": 0}, {"mirostat": 1}):
        with pytest.raises(ModelError, match=rf"finite logits, found {bad} at token 2"):
            chain(**params).sample(logits)


@pytest.mark.parametrize("params", [{}, {"temperature": 0}, {"mirostat": 1}, PLAIN])
def test_ruling_out_every_token_is_an_error(params: dict[str, object]) -> None:
    with pytest.raises(ModelError, match="found -inf"):
        chain(**params).sample(np.full(4, -np.inf, np.float32))
    barred = chain(**params, logit_bias=dict.fromkeys(range(4), -np.inf))
    with pytest.raises(ModelError, match="at least one token that may be drawn"):
        barred.sample(logits_of(PROBS))


@pytest.mark.parametrize(
    "params",
    [
        {"presence_penalty": 1e30, "top_n_sigma": 1.0},
        {"dynatemp_range": 5.0, "dynatemp_exponent": -1.0},
        {"dynatemp_range": 5.0, "dynatemp_exponent": 30.0},
        {"temperature": 1e-45},
        {"mirostat": 2, "mirostat_tau": 0.0, "mirostat_eta": -1e30},
    ],
)
def test_extreme_parameters_say_nothing(params: dict[str, object]) -> None:
    chain = SamplerChain(SamplingParams(seed=1, **params), 4)  # type: ignore[arg-type]
    for _ in range(3):
        chain.accept(chain.sample([1.0, 30.0, 2.0, -1.0]).token)


def test_logits_of_another_shape_are_refused() -> None:
    with pytest.raises(ModelError, match=r"shape \(4,\), found \(1, 4\)"):
        chain().sample(np.zeros((1, 4), np.float32))


@pytest.mark.parametrize("token", [-1, 4])
def test_tokens_outside_the_vocabulary_are_refused(token: int) -> None:
    with pytest.raises(ModelError, match=f"0 to 3, found {token}"):
        chain().accept(token)
    with pytest.raises(ModelError, match=f"0 to 3, found {token}"):
        chain(logit_bias={token: 1.0})


def test_dry_asks_for_its_breakers_as_tokens() -> None:
    with pytest.raises(ModelError, match="dry_breakers"):
        chain(dry_multiplier=0.8)
    SamplerChain(SamplingParams(dry_multiplier=0.8), 4, dry_breakers={2: [()]})


def test_one_token_and_all_but_one_ruled_out() -> None:
    assert chain(1).sample([0.3]) == chain(1).sample([-5.0])
    logits = np.full(500, -np.inf, np.float32)
    logits[123] = -7.0
    for params in ({}, {"mirostat": 1}, {"mirostat": 2}, {"temperature": 0}, PLAIN, ALL_ON):
        sampled = chain(500, **params).sample(logits)
        assert (sampled.token, sampled.logprob) == (123, 0.0)


@settings(deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    spread=st.floats(0, 30),
    top_k=st.integers(-1, 80),
    top_p=st.floats(0, 1),
    min_p=st.floats(0, 1),
    typical_p=st.floats(0, 1),
    top_n_sigma=st.floats(-1, 4),
    temperature=st.floats(0, 5),
    dynatemp_range=st.floats(0, 5),
    xtc_probability=st.floats(0, 1),
    repeat_penalty=st.floats(0.5, 2),
    samplers=st.permutations(SAMPLER_NAMES),
)
def test_any_chain_draws_from_a_distribution(seed: int, spread: float, **params: object) -> None:
    n_vocab = 60
    generator = np.random.default_rng(seed)
    logits = (generator.standard_normal(n_vocab) * spread).astype(np.float32)
    sampler = chain(n_vocab, seed=seed % 1000, adaptive_target=0.4, **params)
    for token in generator.integers(0, n_vocab, 10):
        sampler.accept(int(token))
    ids, probs = sampler.probabilities(logits)
    sampled = sampler.sample(logits)
    assert 1 <= len(ids) == len(set(ids.tolist())) <= n_vocab
    assert (probs >= 0).all()
    assert probs.sum(dtype=np.float64) == pytest.approx(1, abs=1e-5)
    assert sampled.token in ids[probs > 0]
    assert sampled.logprob <= 0


def test_a_large_vocabulary_takes_a_few_milliseconds_at_most() -> None:
    logits = random_logits(0, 151_936)
    sampler = chain(len(logits))
    seconds = []
    for _ in range(20):
        begin = time.perf_counter()
        sampler.accept(sampler.sample(logits).token)
        seconds.append(time.perf_counter() - begin)
    # 0.3 ms on a quiet machine; the least of 20 is little disturbed by a busy one.
    assert min(seconds) < 3e-3
