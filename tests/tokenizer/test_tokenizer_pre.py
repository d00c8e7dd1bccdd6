"""Pre-tokenizers: every name, the words they make, the time they take."""

from __future__ import annotations

import json
import logging
import time

import pytest
from pre_cases import RECORDED, TEXTS, families, vocabulary
from vocabularies import bpe, tokenizer

from gguf_run.errors import ModelError
from gguf_run.tokenizer.pretokenizers import PRE_TOKENIZERS


@pytest.mark.parity
@pytest.mark.parametrize("name", families())
def test_words_are_cut_where_llama_cpp_cuts_them(name: str) -> None:
    found = tokenizer(vocabulary(name))
    for text, ids in zip(TEXTS, json.loads(RECORDED.read_text())[name], strict=True):
        assert found.encode(text, add_special=False) == ids, repr(text)


def test_all_91_names_of_llama_cpp_are_known() -> None:
    assert len(PRE_TOKENIZERS) == 91
    for name in PRE_TOKENIZERS:
        found = tokenizer(bpe([], pre=name))
        assert found.encode("a1", add_special=False) == [found.vocab.tokens.index(c) for c in "a1"]


def test_an_unknown_name_is_an_error_that_says_it_and_what_to_do() -> None:
    with pytest.raises(ModelError, match=r"tiny\.gguf: .*tokenizer\.ggml\.pre.*'brand-new'.*newer"):
        tokenizer(bpe([], pre="brand-new"))


def test_no_name_means_the_default_and_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        found = tokenizer(bpe([], pre=""))
    assert "tokenizer.ggml.pre" in caplog.text
    assert found.vocab.pre is PRE_TOKENIZERS["default"]


LONG = {
    "letters": "A" * 30_000,
    "spaces": " " * 30_000 + "x",
    "newlines": "\n" * 30_000 + "x",
    "digits": "1" * 30_000,
    "ideographs": "\u4e2d" * 30_000,
    "words": "the cat, 12 " * 2_500,
}


@pytest.mark.parametrize("name", sorted(set(families()) | {"whitespace"}))
def test_no_run_of_characters_takes_more_than_linear_time(name: str) -> None:
    found = tokenizer(bpe([], pre=name))
    found.encode("warm")
    for text in LONG.values():
        start = time.perf_counter()
        found.encode(text)
        assert time.perf_counter() - start < 2
