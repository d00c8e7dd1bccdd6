"""SPM: merges by score, byte fallback, the space before a text."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vocabularies import (
    BYTE,
    CONTROL,
    NORMAL,
    UNKNOWN,
    USER_DEFINED,
    metadata,
    pieces,
    spm,
    tokenizer,
)

from gguf_run.errors import ModelError
from gguf_run.tokenizer import Tokenizer

SPACE = "\u2581"
STORY = {
    **dict.fromkeys([SPACE, "t", "h", "e", "c", "a", "\n"], -9.0),
    f"{SPACE}t": -1.0,
    "he": -2.0,
    f"{SPACE}the": -3.0,
    "ca": -4.0,
    f"{SPACE}ca": -5.0,
    f"{SPACE}cat": -6.0,
}


def by_the_rule(found: Tokenizer, text: str) -> list[str]:
    """The rule itself: join the best-scored neighbours, the leftmost of equals, until none join."""
    scores = dict(zip(found.vocab.tokens, found.vocab.scores.tolist(), strict=True))
    parts = list(text)
    while True:
        joins = [
            (-scores[a + b], i)
            for i, (a, b) in enumerate(itertools.pairwise(parts))
            if a + b in scores
        ]
        if not joins:
            return [
                name
                for part in parts
                for name in ([part] if part in scores else [f"<0x{b:02X}>" for b in part.encode()])
            ]
        i = min(joins)[1]
        parts[i : i + 2] = [parts[i] + parts[i + 1]]


def test_the_best_scored_pair_is_merged_first() -> None:
    assert pieces(tokenizer(spm(STORY)), "the cat") == [f"{SPACE}the", f"{SPACE}cat"]


def test_a_text_begins_with_a_space_that_is_not_written() -> None:
    found = tokenizer(spm(STORY))
    assert pieces(found, "t") == [f"{SPACE}t"]
    assert found.decode(found.encode("the cat")) == "the cat"


def test_no_space_is_set_before_a_text_where_the_file_forbids_it() -> None:
    found = tokenizer(spm(STORY, add_space_prefix=False))
    assert pieces(found, "the") == ["t", "he"]
    assert found.decode(found.encode(" the")) == " the"


def test_spaces_are_kept_as_they_are() -> None:
    found = tokenizer(spm(STORY, add_space_prefix=False))
    assert pieces(found, "  t ") == [SPACE, f"{SPACE}t", SPACE]


def test_characters_without_a_token_are_spelt_in_bytes() -> None:
    found = tokenizer(spm(STORY, add_space_prefix=False))
    assert pieces(found, "t\u65e5\0") == ["t", "<0xE6>", "<0x97>", "<0xA5>", "<0x00>"]


def test_neighbouring_unknown_characters_are_all_spelt() -> None:
    found = tokenizer(spm(STORY, add_space_prefix=False))
    assert pieces(found, "xyt") == ["<0x78>", "<0x79>", "t"]


def test_a_character_is_unknown_where_bytes_have_no_tokens() -> None:
    tokens = {"<unk>": UNKNOWN, "<s>": CONTROL, "</s>": CONTROL, SPACE: NORMAL, "a": NORMAL}
    found = tokenizer(metadata("llama", tokens))
    assert pieces(found, "a\u65e5x") == [SPACE, "a", "<unk>", "<unk>"]


def test_a_lone_surrogate_counts_as_a_replacement_character() -> None:
    found = tokenizer(spm(STORY))
    assert found.encode("t\ud800") == found.encode("t\ufffd")


def test_the_text_of_a_control_token_is_plain_unless_asked_for() -> None:
    found = tokenizer(spm(STORY))
    assert pieces(found, "</s>")[:2] == [SPACE, "<0x3C>"]
    assert pieces(found, "</s>", parse_special=True) == ["</s>"]


def test_tokens_of_every_kind_can_be_merged_into() -> None:
    special = {"ab": CONTROL, "abc": USER_DEFINED}
    found = tokenizer(spm({"a": 0.0, "b": 0.0, "c": 0.0}, special, add_space_prefix=False))
    assert pieces(found, "ab") == ["ab"]


def test_the_space_comes_again_behind_a_special_token() -> None:
    found = tokenizer(spm(STORY))
    assert pieces(found, "t</s>t", parse_special=True) == [f"{SPACE}t", "</s>", f"{SPACE}t"]


def test_bos_and_eos_are_added_as_the_file_says() -> None:
    assert tokenizer(spm(STORY)).encode("") == [1]
    assert tokenizer(spm(STORY, add_bos_token=False, add_eos_token=True)).encode("") == [2]
    assert tokenizer(spm(STORY)).encode("", add_special=False) == []


def test_a_missing_bos_is_an_error_that_names_its_key() -> None:
    found = tokenizer(metadata("llama", {"<unk>": UNKNOWN}))
    assert found.bos is None
    with pytest.raises(ModelError, match="bos_token_id"):
        found.encode("")
    assert found.encode("", add_special=False) == []


def test_a_hundred_thousand_characters_of_one_kind_are_no_trouble() -> None:
    found = tokenizer(spm({"t": 0.0, "tt": 1.0, "tttt": 2.0}, add_space_prefix=False))
    assert len(found.encode("t" * 100_000, add_special=False)) == 25_000


words = st.text("abc\u00e9", min_size=1, max_size=4)
scores = st.sampled_from([0.0, -1.0, -2.0, 3.0, 0.5])


@settings(deadline=None, max_examples=60)
@given(st.dictionaries(words, scores), st.lists(st.text("abc\u00e9x", max_size=12), max_size=8))
def test_any_vocabulary_follows_the_rule(vocabulary: dict[str, float], texts: list[str]) -> None:
    found = tokenizer(spm(vocabulary, add_space_prefix=False))
    for text in texts:
        assert pieces(found, text) == by_the_rule(found, text)


@settings(deadline=None, max_examples=60)
@given(st.text())
def test_any_text_comes_back(text: str) -> None:
    found = tokenizer(spm(STORY))
    assert found.decode(found.encode(text)) == text.replace(SPACE, " ")


def test_a_byte_token_decodes_to_its_byte() -> None:
    found = tokenizer(metadata("llama", {"<unk>": UNKNOWN, "<0xe6>": BYTE, "<0xZZ>": BYTE}))
    assert [found.token_bytes(i) for i in range(3)] == [b"<unk>", b"\xe6", b""]
