"""Ids to text, at once and one by one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vocabularies import BYTES, CONTROL, NORMAL, bpe, metadata, spm, tokenizer

from gguf_run.tokenizer import Tokenizer

S = "\u2581"
SPM = tokenizer(spm({S: 0.0, f"{S}the": 0.0, "\u65e5": 0.0, f"{S}{S}": 0.0, "a": 0.0}))
BPE = tokenizer(bpe(["\u00e6 \u0139"], {"<|end|>": CONTROL}))


def streamed(found: Tokenizer, ids: list[int], **how: bool) -> list[str]:
    streamer = found.streamer(**how)
    return [*map(streamer.push, ids), streamer.flush()]


def ids_of(found: Tokenizer, *texts: str) -> list[int]:
    return [found.vocab.token_to_id[text] for text in texts]


@pytest.mark.parametrize("found", [SPM, BPE], ids=["spm", "bpe"])
@given(data=st.data())
def test_streamed_pieces_join_to_the_decoded_text(found: Tokenizer, data: st.DataObject) -> None:
    ids = data.draw(st.lists(st.integers(0, found.n_vocab - 1)))
    special = data.draw(st.booleans())
    assert "".join(streamed(found, ids, special=special)) == found.decode(ids, special)


def test_a_character_comes_when_its_last_byte_has_come() -> None:
    ids = ids_of(SPM, "a", "<0xE6>", "<0x97>", "<0xA5>", "a")
    assert streamed(SPM, ids) == ["a", "", "", "\u65e5", "a", ""]


def test_bytes_that_are_no_utf_8_become_replacement_characters() -> None:
    ids = ids_of(SPM, "<0xE6>", "a", "<0xFF>", "<0xE6>", "<0x97>")
    assert streamed(SPM, ids) == ["", "\ufffda", "\ufffd", "", "", "\ufffd"]
    assert SPM.decode(ids) == "\ufffda\ufffd\ufffd"


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        ([f"{S}the", f"{S}the"], "the the"),
        (["<s>", f"{S}the"], "the"),
        ([S, f"{S}the"], " the"),
        ([f"{S}{S}", "a"], " a"),
        (["a", f"{S}the"], "a the"),
        ([], ""),
    ],
)
def test_one_space_before_the_first_text_is_left_out(tokens: list[str], text: str) -> None:
    assert SPM.decode(ids_of(SPM, *tokens)) == text
    assert "".join(streamed(SPM, ids_of(SPM, *tokens))) == text


def test_a_continuation_keeps_its_first_space() -> None:
    ids = ids_of(SPM, f"{S}the", f"{S}the")
    assert streamed(SPM, ids, continuation=True) == [" the", " the", ""]


def test_control_tokens_have_text_when_asked_for() -> None:
    ids = [*ids_of(BPE, "a"), BPE.n_vocab - 1]
    assert BPE.decode(ids) == "a"
    assert BPE.decode(ids, special=True) == "a<|end|>"
    assert BPE.token_bytes(ids[1]) == b"<|end|>"
    assert BPE.token_bytes(ids[1], special=False) == b""


def test_a_token_may_stand_for_part_of_a_character() -> None:
    (half,) = ids_of(BPE, "\u00e6\u0139")
    assert BPE.token_bytes(half) == b"\xe6\x97"
    assert BPE.piece(half) == "\u00e6\u0139"
    assert streamed(BPE, [half, *ids_of(BPE, "\u00a5")]) == ["", "\u65e5", ""]


def test_a_character_outside_the_byte_alphabet_is_itself() -> None:
    found = tokenizer(bpe([], {"\u65e5\u0120": NORMAL}))
    assert found.token_bytes(256) == "\u65e5 ".encode()


def test_unused_tokens_have_no_text() -> None:
    found = tokenizer(metadata("llama", {"x": 5, "y": 0, "z": 77}))
    assert found.decode(range(3), special=True) == ""


@pytest.mark.parametrize("token", [-1, len(BYTES) + 8, 1 << 40])
def test_an_id_outside_the_vocabulary_is_an_error_that_names_it(token: int) -> None:
    for ask in (
        lambda: SPM.decode([token]),
        lambda: SPM.token_bytes(token),
        lambda: SPM.piece(token),
    ):
        with pytest.raises(ValueError, match=rf"token id {token} .* 0 \.\.\. {SPM.n_vocab - 1}"):
            ask()
    assert not SPM.is_eog(token)
