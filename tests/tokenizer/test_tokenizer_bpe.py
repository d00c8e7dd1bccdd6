"""BPE: merges by rank, tokens that merges lack, Gemma's and the whitespace kind."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vocabularies import (
    ALPHABET,
    CONTROL,
    NORMAL,
    USER_DEFINED,
    bpe,
    gemma4,
    metadata,
    pieces,
    spell,
    tokenizer,
)

from gguf_run.errors import ModelError
from gguf_run.tokenizer import Tokenizer

MERGES = ["h e", "l l", "he ll", "hell o", "\u0120 w", "o r"]


def test_merges_apply_in_the_order_of_the_file() -> None:
    assert pieces(tokenizer(bpe(MERGES)), "hello wor") == ["hello", "\u0120w", "or"]


def test_any_byte_has_a_token() -> None:
    found = tokenizer(bpe(MERGES))
    assert "".join(pieces(found, "\0\u65e5")) == spell("\0\u65e5")


def test_a_whole_word_stays_whole_where_merges_are_ignored() -> None:
    special = {"wor": NORMAL}
    assert pieces(tokenizer(bpe(MERGES, special, pre="llama-bpe")), "wor") == ["wor"]
    assert pieces(tokenizer(bpe(MERGES, special, pre="gpt-2")), "wor") == ["w", "or"]


def test_of_equal_merges_the_first_counts() -> None:
    found = tokenizer(bpe(["a b", "b c"]) | {"tokenizer.ggml.merges": ["a b", "b c", "a b"]})
    assert pieces(found, "abc") == ["ab", "c"]


def test_a_merged_text_without_a_token_is_spelt_in_bytes() -> None:
    found = bpe(["a b", "ab c"])
    found["tokenizer.ggml.merges"] = ["a b", "ab c", "x y", "\u0120 x"]
    # Of "\u0120x" only the byte that is an ASCII character is found, as in llama.cpp.
    assert pieces(tokenizer(found), "abc xy xz") == ["abc", "\u0120", "x", "y", "x", "z"]


def test_a_character_without_a_token_is_left_out_but_parts_its_neighbours() -> None:
    tokens = dict.fromkeys(["a", "b", "ab"], NORMAL)
    found = tokenizer(metadata("gpt2", tokens, pre="gpt-2", merges=["a b"]))
    assert pieces(found, "abxab a!b") == ["ab", "ab", "a", "b"]


def test_tokens_that_are_no_utf_8_do_no_harm() -> None:
    merges = ["a b", "\udce6 a"]
    found = bpe(merges[:1], {"\udce6": NORMAL})
    found["tokenizer.ggml.merges"] = merges
    made = tokenizer(found)
    assert pieces(made, "ab") == ["ab"]
    assert made.token_bytes(made.n_vocab - 1) == b"\xe6"


def test_a_space_as_first_character_belongs_to_the_left_token() -> None:
    found = bpe(["a b"]) | {"tokenizer.ggml.merges": ["  x", "a b"]}
    assert pieces(tokenizer(found), "ab") == ["ab"]


def test_bos_is_added_by_family_and_by_the_files_keys() -> None:
    assert tokenizer(bpe(MERGES)).encode("") == []
    assert tokenizer(bpe(MERGES, pre="llama-bpe")).encode("") == [11]
    assert tokenizer(bpe(MERGES, pre="llama-bpe", bos_token_id=7)).encode("") == [7]
    assert tokenizer(bpe(MERGES, pre="llama-bpe", add_bos_token=False)).encode("") == []
    assert tokenizer(bpe(MERGES, add_eos_token=True, eos_token_id=5)).encode("") == [5]


def test_glm_has_no_bos_by_default() -> None:
    assert tokenizer(bpe(MERGES, pre="glm4")).bos is None


def test_gemma_writes_spaces_as_low_blocks_and_keeps_lines_whole() -> None:
    found = tokenizer(
        gemma4(["\u2581", "a", "\u2581a", "\u2581a\u2581", "\n"], ["\u2581 a", "\u2581a \u2581"])
    )
    assert pieces(found, " a \n") == ["\u2581a\u2581", "\n"]
    assert found.decode(found.encode(" a \n")) == " a \n"


def test_gemma_takes_a_run_of_newlines_that_is_a_token_whole() -> None:
    found = tokenizer(gemma4(["\n", "\n\n\n", "a"], []))
    assert pieces(found, "a\n\n\na\n\n") == ["a", "\n\n\n", "a", "\n", "\n"]


def test_gemma_spells_strange_characters_in_bytes_and_drops_absent_ones() -> None:
    found = gemma4(["a"], [])
    assert pieces(tokenizer(found), "a\u00e9a") == ["a", "<0xC3>", "<0xA9>", "a"]
    found["tokenizer.ggml.tokens"][3 + 0xC3] = "gone"
    assert pieces(tokenizer(found), "a\u00e9a") == ["a", "<0xA9>", "a"]


def test_gemma_always_begins_with_bos() -> None:
    assert tokenizer(gemma4(["a"], [], add_bos_token=False)).encode("") == [2]


def test_the_whitespace_kind_drops_whitespace_and_folds_case_when_asked() -> None:
    tokens = dict.fromkeys(["a", "b", "ab", "A"], NORMAL)
    keys = {"pre": "whitespace", "merges": ["a b"]}
    assert pieces(tokenizer(metadata("whitespace", tokens, **keys)), "ab\u3000A b") == [
        "ab",
        "A",
        "b",
    ]
    folding = metadata("whitespace", tokens, **keys | {"normalizer.lowercase": True})
    assert pieces(tokenizer(folding), "AB A") == ["ab", "a"]


def test_kimi_needs_no_merges_but_others_do() -> None:
    without = bpe([])
    del without["tokenizer.ggml.merges"]
    assert pieces(tokenizer(without | {"tokenizer.ggml.pre": "kimi-k2"}), "ab") == ["a", "b"]
    with pytest.raises(ModelError, match=r"tokenizer\.ggml\.merges"):
        tokenizer(without)


def by_the_rule(found: Tokenizer, word: str) -> list[str]:
    """The rule itself: join the pair of lowest rank, the leftmost of equals, until none join."""
    ranks = {tuple(merge.split(" ")): i for i, merge in reversed([*enumerate(found.vocab.merges)])}
    parts = list(word)
    while True:
        pairs = [*itertools.pairwise(parts)]
        joins = [(ranks[pair], i) for i, pair in enumerate(pairs) if pair in ranks]
        if not joins:
            return parts
        i = min(joins)[1]
        parts[i : i + 2] = [parts[i] + parts[i + 1]]


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99)), max_size=20),
    st.lists(st.text("abc", max_size=14), max_size=8),
)
def test_any_merges_follow_the_rule(choices: list[tuple[int, int]], words: list[str]) -> None:
    known, merges = [*"abc"], []
    for a, b in choices:
        left, right = known[a % len(known)], known[b % len(known)]
        merges.append(f"{left} {right}")
        known.append(left + right)
    found = tokenizer(bpe(merges))
    for word in words:
        assert pieces(found, word) == by_the_rule(found, word)


@settings(deadline=None, max_examples=60)
@given(st.text(), st.sampled_from(["gpt-2", "llama-bpe", "qwen2", "tekken", "deepseek-llm"]))
def test_any_text_comes_back(text: str, pre: str) -> None:
    found = tokenizer(bpe(MERGES, {"<|end|>": CONTROL, "<tool>": USER_DEFINED}, pre=pre))
    assert found.decode(found.encode(text, add_special=False)) == text


def test_gpt_2s_alphabet_has_a_character_for_each_byte() -> None:
    found = tokenizer(bpe([]))
    assert sorted(found.token_bytes(i) for i in range(256)) == [bytes([i]) for i in range(256)]
    assert len(ALPHABET) == 256
