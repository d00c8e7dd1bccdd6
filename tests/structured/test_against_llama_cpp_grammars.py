"""Grammars allow what llama.cpp allows, and texts are llama.cpp's; recorded by
`record_structured.py`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from grammars import DATA, DEMO_MODEL, GRAMMARS, N_TOKENS, PROMPT, digest, walked

from gguf_run import Model
from gguf_run.structured import lexemes
from gguf_run.structured.factory import ConstraintFactory

pytestmark = pytest.mark.parity

ROWS = {row["grammar"]: row for row in json.loads(DATA.read_text("utf-8"))}


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    with Model(DEMO_MODEL, device="cpu", n_ctx=512) as model:
        yield model


def test_every_grammar_is_recorded() -> None:
    assert ROWS.keys() == GRAMMARS.keys()


@pytest.mark.parametrize("work", [lexemes.WORK, 0], ids=["lexemes", "characters"])
@pytest.mark.parametrize("name", GRAMMARS)
def test_the_tokens_that_may_come_are_llama_cpps(
    model: Model,
    factory: ConstraintFactory,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    work: int,
) -> None:
    """Both where lexemes are found, and where the search is given up and all are characters."""
    monkeypatch.setattr(lexemes, "WORK", work)
    tokenizer = model.tokenizer
    compared = walked([tokenizer.token_bytes(i, special=False) for i in range(tokenizer.n_vocab)])
    eog = np.isin(np.arange(tokenizer.n_vocab), list(tokenizer.eog_ids))
    for walk in ROWS[name]["walks"]:
        constraint = factory.from_gbnf(GRAMMARS[name])
        steps = zip(walk["ends"], walk["digests"], [*walk["tokens"], None], strict=False)
        for ends, expected, token in steps:
            allowed = eog if constraint.is_complete else constraint.mask()
            assert allowed[eog].any() == bool(ends)
            assert digest(allowed & compared & ~eog) == expected
            if token is None:
                break
            assert constraint.allows(token)
            constraint.accept(token)


@pytest.mark.parametrize("name", GRAMMARS)
def test_the_text_is_llama_cpps(model: Model, name: str) -> None:
    for run in ROWS[name]["runs"]:
        options: dict[str, Any] = run["options"]
        chunks = model.generate(PROMPT, N_TOKENS, grammar=GRAMMARS[name], **options)
        tokens = [chunk.token for chunk in chunks]
        if tokens and tokens[-1] in model.tokenizer.eog_ids:
            tokens.pop()
        assert tokens == run["tokens"], options
