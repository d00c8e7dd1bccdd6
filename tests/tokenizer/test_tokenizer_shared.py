"""Real vocabularies, with ids recorded from llama.cpp."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gguf_run.loader import open_gguf
from gguf_run.tokenizer import Tokenizer

NAMES = ("bert-bge", "gpt-2", "llama-bpe", "llama-spm", "phi-3", "qwen2")


@pytest.fixture(scope="module", params=NAMES)
def vocab_file(request: pytest.FixtureRequest, shared: Path) -> Path:
    return shared / "vocab" / f"ggml-vocab-{request.param}.gguf"


@pytest.fixture(scope="module")
def tokenizer(vocab_file: Path) -> Tokenizer:
    return Tokenizer.from_gguf(vocab_file)


def recorded(vocab_file: Path) -> list[tuple[str, list[int]]]:
    texts = Path(f"{vocab_file}.inp").read_bytes().decode().split("\n__ggml_vocab_test__\n")
    lines = Path(f"{vocab_file}.out").read_text().split("\n")
    assert len(texts) == len(lines)
    return [(text, [int(i) for i in line.split()]) for text, line in zip(texts, lines, strict=True)]


def test_every_recorded_text_has_llama_cpps_ids(tokenizer: Tokenizer, vocab_file: Path) -> None:
    for text, ids in recorded(vocab_file):
        assert tokenizer.encode(text, add_special=False) == ids, repr(text)


def test_texts_come_back_from_their_ids(tokenizer: Tokenizer, vocab_file: Path) -> None:
    if "bert" in vocab_file.name:
        pytest.skip("WPM forgets case, accents and spaces")
    for text, ids in recorded(vocab_file):
        assert tokenizer.decode(ids) == text


def test_streamed_pieces_join_to_the_decoded_text(tokenizer: Tokenizer, vocab_file: Path) -> None:
    for _, ids in recorded(vocab_file):
        streamer = tokenizer.streamer()
        streamed = "".join([streamer.push(i) for i in ids]) + streamer.flush()
        assert streamed == tokenizer.decode(ids)


def test_an_open_file_serves_as_well_as_a_path(tokenizer: Tokenizer, vocab_file: Path) -> None:
    with open_gguf(vocab_file) as file:
        again = Tokenizer.from_gguf(file)
    assert again.encode("An open file") == tokenizer.encode("An open file")


@pytest.mark.parametrize(
    ("name", "ends"),
    [
        ("bert-bge", {0}),
        ("gpt-2", {50256}),
        ("llama-bpe", {128001, 128009}),
        ("llama-spm", {2}),
        ("phi-3", {2, 32000, 32007}),
        ("qwen2", {128247, 151643, 151645}),
    ],
)
def test_the_tokens_that_end_a_generation_are_llama_cpps(
    name: str, ends: set[int], shared: Path
) -> None:
    found = Tokenizer.from_gguf(shared / "vocab" / f"ggml-vocab-{name}.gguf")
    assert found.eog_ids == ends
    assert all(map(found.is_eog, ends))


def test_phi_3_swallows_whitespace_behind_its_control_tokens(shared: Path) -> None:
    found = Tokenizer.from_gguf(shared / "vocab" / "ggml-vocab-phi-3.gguf")
    tight = found.encode("<|user|>Hi<|end|><|assistant|>", parse_special=True)
    loose = found.encode("<|user|>\n Hi<|end|>\n\t<|assistant|>\n", parse_special=True)
    assert tight == loose == [1, 32010, 6324, 32007, 32001]


def test_qwen2_parses_its_chat_markers_when_asked(shared: Path) -> None:
    found = Tokenizer.from_gguf(shared / "vocab" / "ggml-vocab-qwen2.gguf")
    text = "<|im_start|>user\nHi<|im_end|>"
    assert found.encode(text, parse_special=True) == [151644, 872, 198, 13048, 151645]
    assert 151644 not in found.encode(text)


def test_greedy_text_of_the_little_storyteller_decodes(shared: Path) -> None:
    found = Tokenizer.from_gguf(shared / "models" / "stories260K.gguf")
    for run in json.loads((shared / "models" / "stories260K.greedy.json").read_text())["runs"]:
        assert found.encode(run["prompt"]) == run["prompt_tokens"]
        assert found.decode(run["tokens"]) == run["text"]
