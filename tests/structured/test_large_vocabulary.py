"""Grammars and schemas with a vocabulary of 150,000 tokens."""

from __future__ import annotations

from pathlib import Path
from time import thread_time

import numpy as np
import pytest
from grammars import GRAMMARS

from gguf_run.structured.factory import ConstraintFactory
from gguf_run.tokenizer import Tokenizer

pytestmark = pytest.mark.slow

TEXTS = {
    "words before a word": "abcdefghiend.preend;!",
    "overlapping classes": "abcabcablkk,mnlkxyz",
    "any character": "(abc def ghi) and so on (more) or (less) and (",
    "statements": "int main(float x){y = foo(1+z);// a remark\n}",
    "json": '{"a key": ["a text of some words", -1.5e3, true], "b": null}',
}
MICROSECONDS = 300
"""A mask's mean, many times what it takes (35) as machines that run tests are busy."""


@pytest.fixture(scope="module")
def vocabulary(shared: Path) -> Tokenizer:
    return Tokenizer.from_gguf(shared / "vocab" / "ggml-vocab-qwen2.gguf")


@pytest.fixture(scope="module")
def large(vocabulary: Tokenizer) -> ConstraintFactory:
    return ConstraintFactory(vocabulary, vocabulary.n_vocab)


@pytest.mark.parametrize("name", TEXTS)
def test_hard_grammars_are_followed(
    vocabulary: Tokenizer, large: ConstraintFactory, name: str
) -> None:
    constraint = large.from_gbnf(GRAMMARS[name])
    for token in vocabulary.encode(TEXTS[name], add_special=False):
        assert constraint.mask()[token]
        constraint.accept(token)


def test_masks_of_a_usual_schema_cost_microseconds(
    vocabulary: Tokenizer, large: ConstraintFactory
) -> None:
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
        "required": ["name", "age"],
    }
    seconds = []
    for _ in range(10):
        constraint = large.from_json_schema(schema)
        for token in vocabulary.encode('{"name": "Ada Lovelace", "age": 36}', add_special=False):
            start = thread_time()
            constraint.mask()
            seconds.append(thread_time() - start)
            constraint.accept(token)
    assert np.mean(seconds) * 1e6 < MICROSECONDS
