"""WPM: normalised words, the longest tokens from the left."""

from __future__ import annotations

import pytest
from vocabularies import NORMAL, metadata, pieces, tokenizer, wpm

from gguf_run.errors import ModelError

S = "\u2581"
WORDS = [f"{S}hel", f"{S}hello", "lo", f"{S}!", f"{S}\u65e5", f"{S}caf", "e", f"{S}\u1100", f"{S}x"]


def test_the_longest_token_wins() -> None:
    assert pieces(tokenizer(wpm(WORDS)), "hello hellolo") == [f"{S}hello", f"{S}hello", "lo"]


def test_case_and_accents_are_dropped() -> None:
    assert pieces(tokenizer(wpm(WORDS)), "HELLO Caf\u00e9 cafe\u0301") == [
        f"{S}hello",
        *[f"{S}caf", "e"] * 2,
    ]


def test_case_and_accents_stay_where_the_file_says_so() -> None:
    found = tokenizer(wpm([f"{S}Caf\u00e9"], **{"normalizer.lowercase": False}))
    assert pieces(found, "Caf\u00e9 caf\u00e9") == [f"{S}Caf\u00e9", "[UNK]"]


def test_punctuation_and_chinese_characters_are_words() -> None:
    assert pieces(tokenizer(wpm(WORDS)), "x!\u65e5x") == [f"{S}x", f"{S}!", f"{S}\u65e5", f"{S}x"]


def test_control_characters_vanish_and_unicode_spaces_part_words() -> None:
    assert pieces(tokenizer(wpm(WORDS)), "he\x07llo\u3000x\u200b") == [f"{S}hello", f"{S}x"]


def test_a_syllable_of_hangul_keeps_its_first_letter_as_in_llama_cpp() -> None:
    assert pieces(tokenizer(wpm(WORDS)), "\uac00") == [f"{S}\u1100"]


def test_a_word_that_has_no_tokens_is_unknown_as_a_whole() -> None:
    assert pieces(tokenizer(wpm(WORDS)), "helzzz x") == ["[UNK]", f"{S}x"]


def test_a_text_stands_between_cls_and_sep() -> None:
    assert tokenizer(wpm(WORDS)).encode("x") == [2, 12, 3]
    assert tokenizer(wpm(WORDS)).encode("") == [2, 3]


def test_unknown_words_need_a_token_for_them() -> None:
    found = tokenizer(metadata("bert", {f"{S}x": NORMAL}))
    assert found.encode("x", add_special=False) == [0]
    with pytest.raises(ModelError, match="unknown_token_id"):
        found.encode("y", add_special=False)
    with pytest.raises(ModelError, match="bos_token_id"):
        found.encode("x")


def test_the_space_before_the_first_word_is_not_decoded() -> None:
    found = tokenizer(wpm(WORDS))
    assert found.decode(found.encode("hello x")) == "hello x"


def test_a_long_word_is_no_trouble() -> None:
    assert len(tokenizer(wpm([f"{S}a", "a"])).encode("a" * 100_000)) == 100_002
