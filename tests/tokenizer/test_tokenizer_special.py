"""Special tokens: finding them in texts, their roles, the ends of a generation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from vocabularies import CONTROL, NORMAL, UNKNOWN, USER_DEFINED, bpe, pieces, tokenizer

from gguf_run.tokenizer import Tokenizer


def with_special(special: dict[str, int], **keys: Any) -> Tokenizer:
    return tokenizer(bpe([], special, **keys))


def test_user_defined_tokens_are_always_found_control_tokens_when_asked() -> None:
    found = with_special({"<u>": USER_DEFINED, "<c>": CONTROL, "<k>": UNKNOWN})
    assert pieces(found, "<u><c><k>") == ["<u>", *"<c><k>"]
    assert pieces(found, "<u><c><k>", parse_special=True) == ["<u>", "<c>", "<k>"]


def test_the_longest_token_is_found_first_wherever_it_stands() -> None:
    found = with_special({"ab": USER_DEFINED, "bcd": USER_DEFINED, "abx": USER_DEFINED})
    assert pieces(found, "abcdabx") == ["a", "bcd", "abx"]


def test_length_counts_in_bytes() -> None:
    found = with_special({"abc": USER_DEFINED, "c\u65e5": USER_DEFINED})
    assert pieces(found, "abc\u65e5") == ["a", "b", "c\u65e5"]


def test_words_end_at_special_tokens() -> None:
    found = tokenizer(bpe(["a b"], {"<u>": USER_DEFINED}))
    assert pieces(found, "a<u>bab<u>") == ["a", "<u>", "b", "ab", "<u>"]


def test_phi_3_tokens_swallow_whitespace_behind_them_but_not_all_do() -> None:
    special = {"<|user|>": CONTROL, "</s>": CONTROL, "<s>": CONTROL}
    found = tokenizer(bpe([], special) | {"general.name": "My Phi-3 mini"})
    swallowed = pieces(found, "<|user|> \n a</s>\tb<s> c", parse_special=True)
    assert swallowed == ["<|user|>", "a", "</s>", "b", "<s>", "\u0120", "c"]


def test_jinas_mask_swallows_whitespace_before_it() -> None:
    found = with_special({"<mask>": CONTROL}, pre="jina-v2-code")
    assert pieces(found, "a \n<mask> b", parse_special=True) == ["a", "<mask>", "\u0120", "b"]


def test_only_ascii_whitespace_is_swallowed() -> None:
    found = with_special({"<mask>": CONTROL}, pre="jina-v2-code")
    assert found.decode(found.encode("\u00a0 <mask>", False, True), True) == "\u00a0<mask>"


@given(st.lists(st.sampled_from(["<u>", "<u", ">", "<c>", "ab", "b<", " ", "x"]), max_size=12))
def test_fragments_join_to_the_text(parts: list[str]) -> None:
    found = with_special({"<u>": USER_DEFINED, "<c>": CONTROL, "ab": USER_DEFINED})
    text = "".join(parts)
    for parse_special in (False, True):
        joined = b"".join(found.token_bytes(i) for i in found.encode(text, False, parse_special))
        assert joined.decode() == text


def test_thousands_of_special_tokens_cost_little_where_none_occurs() -> None:
    found = with_special({f"<unused{i}>": CONTROL for i in range(6000)})
    assert len(found.encode("a<b " * 20_000, parse_special=True)) == 80_000


def texts(found: Tokenizer, ids: frozenset[int]) -> set[str]:
    return {found.piece(i) for i in ids}


def test_generations_end_at_known_texts_and_at_named_ids() -> None:
    special = {"<|im_end|>": CONTROL, "<|fim_pad|>": NORMAL, "<x>": CONTROL, "<y>": CONTROL}
    found = with_special(special, eos_token_id=258, eom_token_id=259)
    assert texts(found, found.eog_ids) == {"<|im_end|>", "<|fim_pad|>", "<x>", "<y>"}
    assert (found.eos, found.eot, found.eom) == (258, 256, 259)
    assert not found.is_eog(0)


def test_harmonys_end_of_a_message_is_no_end_of_the_answer() -> None:
    special = dict.fromkeys(["<|end|>", "<|return|>", "<|call|>", "<|channel|>"], CONTROL)
    found = with_special(special, eos_token_id=257)
    assert texts(found, found.eog_ids) == {"<|return|>", "<|call|>"}
    assert found.token_bytes(256, special=False) == b"<|end|>"
    assert found.token_bytes(259, special=False) == b"<|channel|>"


def test_without_harmony_it_is() -> None:
    found = with_special({"<|end|>": CONTROL, "<|return|>": CONTROL}, eos_token_id=257)
    assert texts(found, found.eog_ids) == {"<|end|>", "<|return|>"}


def test_gemmas_strike_through_is_no_end() -> None:
    special = {"</s>": NORMAL, "<|tool_response>": CONTROL, "<eos>": CONTROL}
    found = with_special(special, eos_token_id=258)
    assert texts(found, found.eog_ids) == {"<|tool_response>", "<eos>"}
    assert found.token_bytes(256, special=False) == b"</s>"


def test_a_token_known_by_its_text_is_hidden_like_a_control_token() -> None:
    found = with_special({"<|im_end|>": NORMAL})
    assert found.decode([256]) == ""
    assert found.decode([256], special=True) == "<|im_end|>"


def test_a_key_beats_a_text() -> None:
    found = with_special({"<|eot_id|>": CONTROL, "<|im_end|>": CONTROL}, eot_token_id=257)
    assert found.eot == 257


def test_an_unset_id_is_no_id() -> None:
    found = with_special({}, padding_token_id=0xFFFFFFFF, mask_token_id=-1)
    assert found.pad is None
    assert found.mask is None


@pytest.mark.parametrize(("old", "new"), [("prefix", "pre"), ("suffix", "suf"), ("middle", "mid")])
def test_old_spellings_of_fill_in_the_middle_keys_count(old: str, new: str) -> None:
    found = with_special({}, **{f"{old}_token_id": 5})
    assert getattr(found.vocab.special, f"fim_{new}") == 5


def test_suppressed_ids_are_those_of_the_vocabulary() -> None:
    found = with_special({}, suppress_tokens=np.array([3, 900, -1], np.int32))
    assert found.vocab.suppressed == (3,)
