"""UGM: the likeliest tokens, rules that normalise, spaces before words."""

from __future__ import annotations

import contextlib
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vocabularies import CONTROL, NORMAL, UNKNOWN, USER_DEFINED, metadata, pieces, tokenizer

from gguf_run import ModelError, Tokenizer

HERE = Path(__file__).parent
SPACE = "\u2581"
CASES: list[dict[str, Any]] = json.loads((HERE / "ugm_cases.json").read_text("utf-8"))


def ugm(scores: dict[str, float], **keys: Any) -> dict[str, Any]:
    """`<pad> </s> <unk>`, then pieces with their scores."""
    tokens = {"<pad>": CONTROL, "</s>": CONTROL, "<unk>": UNKNOWN} | dict.fromkeys(scores, NORMAL)
    values = np.array([0.0] * 3 + list(scores.values()), np.float32)
    return metadata("t5", tokens, **{"scores": values} | keys)


def charsmap(units: dict[int, int], texts: bytes, n_unit: int = 256) -> np.ndarray:
    """Compiled rules of a few units by index."""
    array = np.zeros(n_unit, "<u4")
    for index, unit in units.items():
        array[index] = unit
    content = struct.pack("<I", array.nbytes) + array.tobytes() + texts
    return np.frombuffer(content, np.uint8)


def one_rule(replacement: int = 0) -> dict[int, int]:
    """Units of a rule for "a": from 0 to 97 (offset 0), a key's end, whose text is at unit 98."""
    return {0: 0, 97: 0x100 | (97 ^ 98) << 10 | 97, 98: 0x80000000 | replacement}


@pytest.fixture(scope="module")
def trained() -> Tokenizer:
    return Tokenizer.from_gguf(HERE / "ugm.gguf")


@pytest.mark.parametrize("case", CASES, ids=lambda case: repr(case["text"])[:30])
def test_tokens_are_llama_cpps(trained: Tokenizer, case: dict[str, Any]) -> None:
    assert trained.encode(case["text"], parse_special=True) == case["ids"]


def test_text_comes_back_without_the_first_space(trained: Tokenizer) -> None:
    assert trained.decode(trained.encode("the cat sat")) == "the cat sat"


def test_the_likeliest_tokens_are_chosen_and_not_the_longest() -> None:
    made = tokenizer(ugm({"ab": -1.0, "c": -1.0, "abc": -3.0, "a": -9.0, "bc": -1.0}))
    assert pieces(made, "abc") == ["ab", "c"]


def test_neighbours_that_are_unknown_are_one_token() -> None:
    made = tokenizer(ugm({"a": -1.0}))
    assert pieces(made, "xyaz") == ["<unk>", "a", "<unk>"]


def test_user_defined_tokens_come_first() -> None:
    found = ugm({"a": -1.0, "ba": -1.0, "ab": -50.0})
    found["tokenizer.ggml.token_type"][-1] = USER_DEFINED
    assert pieces(tokenizer(found), "aba") == ["ab", "a"]


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, ["a", SPACE, "b", SPACE]),
        ({"add_space_prefix": True}, [SPACE, "a", SPACE, "b", SPACE]),
        ({"remove_extra_whitespaces": True}, [SPACE, "a", SPACE, "b"]),
    ],
)
def test_spaces_stand_before_words(keys: dict[str, Any], expected: list[str]) -> None:
    made = tokenizer(ugm({"a": -1.0, "b": -1.0, SPACE: -1.0}, **keys))
    assert pieces(made, "  a   b ") == expected


def test_a_text_ends_with_eos_unless_the_file_says_otherwise() -> None:
    assert tokenizer(ugm({"a": -1.0})).encode("a") == [3, 1]
    assert tokenizer(ugm({"a": -1.0}, add_eos_token=False)).encode("a") == [3]


def test_a_rule_replaces_its_key() -> None:
    found = ugm({"x": -1.0, "y": -1.0}, precompiled_charsmap=charsmap(one_rule(2), b"q\0xy\0"))
    assert pieces(tokenizer(found), "xax") == ["x", "x", "y", "x"]


@pytest.mark.parametrize(
    "rules",
    [
        np.frombuffer(b"\xff\xff\xff\xff" + b"x" * 40, np.uint8),
        np.frombuffer(b"\x03\0\0\0" + b"x" * 40, np.uint8),
        np.frombuffer(b"\0\0\0\0abc", np.uint8),
        np.frombuffer(b"\x01", np.uint8),
    ],
)
def test_rules_of_a_wrong_size_are_refused(rules: np.ndarray) -> None:
    with pytest.raises(ModelError, match=r"precompiled_charsmap: expected rules"):
        tokenizer(ugm({"a": -1.0}, precompiled_charsmap=rules))


@pytest.mark.parametrize(
    "rules",
    [
        charsmap({0: 0xFFFFF << 10}, b"x\0"),
        charsmap(one_rule(5), b"x\0"),
        charsmap(one_rule(), b"x" * 10_000 + b"\0"),
    ],
)
def test_rules_that_lead_nowhere_are_refused(rules: np.ndarray) -> None:
    made = tokenizer(ugm({"a": -1.0}, precompiled_charsmap=rules))
    with pytest.raises(ModelError, match=r"precompiled_charsmap: expected rules"):
        made.encode("ab")


@settings(max_examples=200)
@given(content=st.binary(min_size=4, max_size=400), text=st.text(max_size=20))
def test_any_bytes_as_rules_are_harmless(content: bytes, text: str) -> None:
    rules = np.frombuffer(struct.pack("<I", len(content) // 8 * 4) + content, np.uint8)
    with contextlib.suppress(ModelError):
        tokenizer(ugm({"a": -1.0}, precompiled_charsmap=rules)).encode(text)


def test_a_token_of_a_page_is_refused() -> None:
    made = tokenizer(ugm({"a" * 300: -1.0}))
    with pytest.raises(ModelError, match="expected texts of at most 256 characters"):
        made.encode("a")


def test_without_a_token_for_what_is_unknown_that_is_an_error() -> None:
    tokens = {"<pad>": CONTROL, "a": NORMAL}
    made = tokenizer(metadata("t5", tokens, scores=np.zeros(2, np.float32), add_eos_token=False))
    assert made.encode("a") == [1]
    with pytest.raises(ModelError, match="unknown_token_id"):
        made.encode("b")
