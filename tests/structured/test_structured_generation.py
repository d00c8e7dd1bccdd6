"""Generation bound to a grammar, a schema or an expression, on the demo model."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import numpy as np
import pytest
from grammars import DEMO_MODEL
from random_schemas import errors, run

from gguf_run import Model, ModelError
from gguf_run.generation import Chunk
from gguf_run.sampling import SamplerChain, SamplingParams
from gguf_run.structured import Drawer
from gguf_run.structured.factory import ConstraintFactory

PROMPT = "Once upon a time"
N_SCHEMAS = 200
SENTENCE = r'root ::= [A-Z] [a-z]+ (" " [a-z]+){3,6} "."'


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    with Model(DEMO_MODEL, device="cpu", n_ctx=512) as model:
        yield model


def _text(chunks: list[Chunk]) -> str:
    return "".join(chunk.text for chunk in chunks)


@pytest.mark.slow
def test_every_text_of_random_schemas_that_ends_is_valid(model: Model) -> None:
    n_ended = 0
    for seed in range(N_SCHEMAS):
        schema, text, ended, _ = run(model, seed, PROMPT, 100)
        n_ended += ended
        if ended:
            assert not list(errors(schema, text)), (seed, schema, text)
    assert n_ended > N_SCHEMAS // 3


def test_a_grammar_a_schema_and_an_expression_bind_the_text(model: Model) -> None:
    for seed in range(5):
        text = _text(list(model.generate(PROMPT, 80, grammar=SENTENCE, seed=seed)))
        assert re.fullmatch(r"[A-Z][a-z]+( [a-z]+){3,6}\.", text)
        text = _text(list(model.generate(PROMPT, 80, regex="(cat|dog)s?", seed=seed)))
        assert re.fullmatch("(cat|dog)s?", text)
        schema = {"type": "array", "items": {"type": "boolean"}, "minItems": 3, "maxItems": 3}
        text = _text(list(model.generate(PROMPT, 80, json_schema=schema, seed=seed)))
        assert len(json.loads(text)) == 3


def test_the_last_token_of_a_complete_text_stops_it(model: Model) -> None:
    chunks = list(model.generate(PROMPT, 80, regex="yes|no", temperature=0, ignore_eos=True))
    assert [c.finish_reason for c in chunks] == [None] * (len(chunks) - 1) + ["stop"]
    assert chunks[-1].text
    assert _text(chunks) in {"yes", "no"}


def test_a_text_that_could_go_on_ends_with_the_models_end(model: Model) -> None:
    eos = model.tokenizer.eos
    chunks = list(model.generate(PROMPT, 9, regex="a*", temperature=0, logit_bias={eos: 1e6}))
    assert [(c.token, c.finish_reason) for c in chunks] == [(eos, "stop")]
    longer = list(model.generate(PROMPT, 9, regex="a+", temperature=0, logit_bias={eos: 1e6}))
    assert longer[0].token != eos
    assert longer[-1].token == eos


def test_a_text_may_be_cut_short_by_its_length(model: Model) -> None:
    chunks = list(model.generate(PROMPT, 4, regex="[a-z ]{50}", seed=1))
    assert len(chunks) == 4
    assert chunks[-1].finish_reason == "length"


def test_the_log_probability_is_the_models_own(model: Model) -> None:
    chunk = next(model.generate(PROMPT, 1, regex="[0-9]+", temperature=0))
    logits = model.logits(model.tokenize(PROMPT))[-1].astype("f8")
    expected = logits[chunk.token] - np.log(np.exp(logits - logits.max()).sum()) - logits.max()
    assert chunk.logprob == pytest.approx(expected, abs=1e-4)


def test_what_the_grammar_allows_is_drawn_as_if_there_were_none(model: Model) -> None:
    free = [c.token for c in model.generate(PROMPT, 20, seed=3)]
    bound = [c.token for c in model.generate(PROMPT, 20, seed=3, grammar="root ::= .*")]
    assert bound == free


def test_control_tokens_are_never_allowed(factory: ConstraintFactory) -> None:
    mask = factory.from_gbnf('root ::= "<s>" | "</s>" | "<unk>"').mask()
    assert not mask[:3].any()
    assert mask.any()


def test_tokens_beyond_the_vocabulary_are_never_allowed(model: Model) -> None:
    n_vocab = model.tokenizer.n_vocab
    constraint = ConstraintFactory(model.tokenizer, n_vocab + 5).from_regex(".*")
    assert constraint.mask().shape == (n_vocab + 5,)
    assert not constraint.mask()[n_vocab:].any()
    assert not constraint.allows(n_vocab + 1)


def test_looking_ahead_changes_no_draw(factory: ConstraintFactory) -> None:
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(30, 1536)).astype("f4")
    draws = []
    for ahead in (False, True):
        chain = SamplerChain(SamplingParams(seed=7), 1536)
        drawer = Drawer(chain, factory.from_gbnf("root ::= [a-f]* [0-9]*"))
        tokens = []
        for row in rows:
            if ahead:
                drawer.look_ahead()
            tokens.append(drawer.draw(row).token)
        draws.append(tokens)
    assert draws[0] == draws[1]


def test_two_ways_of_binding_are_one_too_many(model: Model) -> None:
    with pytest.raises(ModelError, match="found grammar and regex"):
        model.generate(PROMPT, grammar='root ::= "a"', regex="a")


def test_a_wrong_grammar_is_refused_before_anything_runs(model: Model) -> None:
    free = model.engine.pool.n_free
    with pytest.raises(ModelError, match="line 1, column 10"):
        model.generate(PROMPT, grammar='root ::= "a')
    assert model.engine.pool.n_free == free
