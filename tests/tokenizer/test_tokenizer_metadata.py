"""Damaged vocabularies are errors that name the key, what was expected and what was found."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vocabularies import bpe, metadata, spm, tokenizer, wpm, write_gguf

from gguf_run.errors import ModelError
from gguf_run.tokenizer import Tokenizer

GOOD = {
    "spm": spm({"a": 0.0}),
    "bpe": bpe(["a b"]),
    "wpm": wpm(["x"]),
}
ABSENT = object()


@pytest.mark.parametrize(
    ("kind", "key", "value", "message"),
    [
        ("bpe", "model", ABSENT, "expected a string, found no such key"),
        ("bpe", "model", 5, "expected a string, found int 5"),
        ("bpe", "model", "rwkv", r"'rwkv' \(RWKV's\) is not supported; supported are llama"),
        ("bpe", "model", "rwkv", "not supported"),
        ("bpe", "model", "plamo2", "not supported"),
        ("bpe", "model", "new", "'new' is not supported"),
        ("bpe", "pre", 7, "expected a string"),
        ("bpe", "tokens", ABSENT, "expected an array of strings, found no such key"),
        ("bpe", "tokens", "abc", "expected an array of strings, found str 'abc'"),
        ("bpe", "tokens", [], "expected at least one token"),
        ("bpe", "tokens", np.zeros(3, np.int32), "expected an array of strings, found an array"),
        ("bpe", "tokens", ["a", ["b"]], "found an array of 1 at index 1"),
        ("bpe", "tokens", ["a", "b", "a"], "expected texts that differ, found 'a' as 0 and as 2"),
        (
            "bpe",
            "token_type",
            np.ones(3, np.int32),
            "expected 25[0-9] entries, one a token, found 3",
        ),
        ("bpe", "token_type", np.ones(300, np.float32), "expected an array of integers"),
        ("bpe", "token_type", 1, "expected an array of integers, found int 1"),
        ("bpe", "merges", ABSENT, "expected an array of strings, found no such key"),
        ("bpe", "merges", ["a b", "ab"], "two tokens with a space between, found 'ab' at index 1"),
        ("bpe", "merges", ["a "], "found 'a ' at index 0"),
        ("bpe", "merges", [" b"], "found ' b' at index 0"),
        ("bpe", "merges", [""], "found '' at index 0"),
        ("bpe", "merges", 3, "expected an array of strings"),
        ("bpe", "bos_token_id", 257, r"expected a token id in 0\.\.256, found 257"),
        ("bpe", "eos_token_id", -2, r"expected a token id in 0\.\.256, found -2"),
        ("bpe", "eot_token_id", "x", "expected a token id"),
        ("bpe", "eom_token_id", True, "expected a token id"),
        ("bpe", "add_bos_token", 1, "expected a boolean, found int 1"),
        ("bpe", "suppress_tokens", ["1"], "expected an array of integers"),
        ("spm", "scores", np.zeros(3, np.float32), "one a token, found 3"),
        ("spm", "scores", np.full(300, np.nan, np.float32), "NaN at index 0"),
        ("spm", "scores", [["x"]], "expected an array of numbers"),
        ("wpm", "normalizer.lowercase", "yes", "expected a boolean"),
    ],
)
def test_a_damaged_key_is_named(kind: str, key: str, value: Any, message: str) -> None:
    damaged = dict(GOOD[kind])
    name = f"tokenizer.ggml.{key}"
    if value is ABSENT:
        del damaged[name]
    else:
        damaged[name] = value
    with pytest.raises(ModelError, match=rf"tiny\.gguf: key {name}: .*{message}"):
        tokenizer(damaged)


values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**40), 2**40),
    st.floats(),
    st.text(max_size=5),
    st.lists(st.text(max_size=3), max_size=4),
    st.lists(st.lists(st.text(max_size=2), max_size=2), max_size=3),
    st.lists(st.integers(-9, 300), max_size=4).map(lambda x: np.array(x, np.int32)),
    st.lists(st.floats(width=32), max_size=4).map(lambda x: np.array(x, np.float32)),
)


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(sorted(GOOD)), st.data())
def test_any_damage_is_harmless_or_a_model_error(kind: str, data: st.DataObject) -> None:
    damaged = dict(GOOD[kind])
    for key in data.draw(st.lists(st.sampled_from(sorted(damaged)), min_size=1, max_size=3)):
        damaged[key] = data.draw(values)
    damaged = {key: value for key, value in damaged.items() if value is not None}
    with contextlib.suppress(ModelError):
        found = tokenizer(damaged)
        found.decode(found.encode("a b", parse_special=True))


def test_a_longer_array_than_the_vocabulary_needs_is_cut() -> None:
    long = dict(GOOD["spm"])
    n = len(long["tokenizer.ggml.tokens"])
    long["tokenizer.ggml.scores"] = np.zeros(n + 5, np.float32)
    long["tokenizer.ggml.token_type"] = np.full(n + 5, 1, np.int64)
    assert len(tokenizer(long).vocab.scores) == n


def test_empty_texts_get_names_of_their_own() -> None:
    found = tokenizer(bpe([]) | {"tokenizer.ggml.tokens": ["", "a", ""]})
    assert [found.piece(i) for i in range(3)] == ["[EMPTY_0]", "a", "[EMPTY_2]"]


def test_a_default_id_that_the_vocabulary_is_too_small_for_is_none() -> None:
    found = tokenizer(bpe([]) | {"tokenizer.ggml.tokens": ["a", "b"]})
    assert found.bos is None
    assert found.eos is None
    assert found.eog_ids == frozenset()


def test_a_file_without_a_vocabulary_says_so_when_text_comes() -> None:
    found = tokenizer(
        {"general.architecture": "x", "tokenizer.ggml.model": "no_vocab", "x.vocab_size": 9}
    )
    assert found.n_vocab == 9
    assert found.decode([1, 2]) == ""
    with pytest.raises(ModelError, match="no vocabulary"):
        found.encode("a")


def test_a_file_is_read_and_closed_again(tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    write_gguf(GOOD["bpe"], path)
    found = Tokenizer.from_gguf(path)
    path.unlink()
    assert found.decode(found.encode("abab")) == "abab"


raw_tokens = st.lists(
    st.lists(st.sampled_from([0, 1, 32, 97, 98, 0xE2, 0x96, 0x81, 0xFF, 0xC3, 0xA9]), max_size=4)
    .map(bytes)
    .map(lambda raw: raw.decode("utf-8", "surrogateescape")),
    min_size=1,
    max_size=12,
    unique=True,
)


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(["llama", "gpt2", "gemma4", "bert", "whitespace"]), raw_tokens, st.data())
def test_tokens_of_any_bytes_are_harmless(
    model: str, texts: list[str], data: st.DataObject
) -> None:
    pair = st.tuples(st.sampled_from(texts), st.sampled_from(texts)).map(" ".join)
    merges = [m for m in data.draw(st.lists(pair, max_size=9)) if 0 < m.find(" ", 1) < len(m) - 1]
    types = data.draw(st.lists(st.integers(0, 6), min_size=len(texts), max_size=len(texts)))
    keys = {"merges": merges, "unknown_token_id": 0, "pre": "gpt-2"}
    found = tokenizer(metadata(model, dict(zip(texts, types, strict=True)), **keys))
    text = "".join(data.draw(st.lists(st.sampled_from([*texts, "a", " ", "\u2581", "\0"]))))
    ids = found.encode(text, add_special=False, parse_special=data.draw(st.booleans()))
    assert all(0 <= i < found.n_vocab for i in ids)
    streamer = found.streamer(special=True)
    assert "".join([*map(streamer.push, ids), streamer.flush()]) == found.decode(ids, special=True)
