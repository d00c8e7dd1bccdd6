"""Built-in templates against llama.cpp's, and which template a file gets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from chat.conversations import TOOLS
from gguf_run.chat import BUILTIN, ChatTemplate, has_template, load_template, template_names
from gguf_run.errors import ModelError
from gguf_run.loader import open_gguf
from gguf_run.tokenizer import Tokenizer

RECORD = json.loads((Path(__file__).parent / "data" / "llama_builtin.json").read_text("utf-8"))
DROPS_LATER_SYSTEM = {"gigachat", "hunyuan-dense", "hunyuan-vl"}
"""Of llama.cpp: here such a message is written, in the family's words."""

MESSAGES = [{"role": "user", "content": "hi"}]
VOCABULARY: dict[str, Any] = {
    "tokenizer.ggml.tokens": ["<unk>", "<s>", "</s>", "<pad>"],
    "tokenizer.ggml.bos_token_id": 1,
    "tokenizer.ggml.eos_token_id": 2,
    "tokenizer.ggml.padding_token_id": 3,
}


def test_every_name_of_llama_cpp_is_known() -> None:
    assert set(BUILTIN) == set(RECORD["texts"])


@pytest.mark.parity
@pytest.mark.parametrize("name", RECORD["texts"])
def test_a_built_in_template_writes_what_llama_cpp_writes(name: str) -> None:
    template = load_template({}, name)
    for what, texts in RECORD["texts"][name].items():
        turns = RECORD["conversations"][what]
        messages = [{"role": role, "content": content} for role, content in turns]
        if what == "two system messages" and name in DROPS_LATER_SYSTEM:
            assert "B" in template.render(messages)
            continue
        assert template.render(messages) == texts[0]
        assert template.render(messages, add_generation_prompt=False) == texts[1]


@pytest.mark.parametrize("name", BUILTIN)
def test_a_built_in_template_writes_what_tools_and_developers_say(name: str) -> None:
    messages = [
        {"role": "developer", "content": "SYS"},
        {"role": "user", "content": "ASK"},
        {"role": "assistant", "content": None},
        {"role": "tool", "content": "TOOL"},
    ]
    text = load_template({}, name).render(messages, tools=TOOLS)
    assert "ASK" in text
    assert "TOOL" in text
    assert "SYS" in text or name == "yandex"


def test_the_file_s_template_comes_first() -> None:
    metadata = {**VOCABULARY, "tokenizer.chat_template": "{{ bos_token }}{{ messages|length }}"}
    template = ChatTemplate.from_metadata(metadata)
    assert (template.render(MESSAGES), template.name) == ("<s>1", "tokenizer.chat_template")
    assert has_template(metadata)


def test_a_text_comes_before_a_name_and_a_name_before_the_file() -> None:
    metadata = {**VOCABULARY, "tokenizer.chat_template": "file"}
    assert load_template(metadata, "chatml", "{{ eos_token }}").render(MESSAGES) == "</s>"
    assert load_template(metadata, "chatml").render(MESSAGES).startswith("<|im_start|>user\nhi")


def test_variants_of_a_file_have_names() -> None:
    metadata = {"tokenizer.chat_template": "a", "tokenizer.chat_template.rag": "b"}
    assert load_template(metadata, "rag").render(MESSAGES) == "b"
    assert template_names(metadata)[0] == "rag"


def test_the_variant_for_tools_is_used_where_there_are_tools() -> None:
    metadata = {
        "tokenizer.chat_template": "plain",
        "tokenizer.chat_template.tool_use": "{{ tools|map(attribute='function.name')|join }}",
    }
    template = ChatTemplate.from_metadata(metadata)
    assert template.render(MESSAGES) == "plain"
    assert template.render(MESSAGES, tools=TOOLS) == "get_weathernow"


@pytest.mark.parametrize(
    ("tokens", "name"),
    [
        (["<|im_start|>", "<|im_end|>"], "chatml"),
        (["<|start_header_id|>"], "llama3"),
        (["<start_of_turn>"], "gemma"),
        (["[INST]"], "mistral-v3"),
        (["<|start|>", "<|message|>", "<|channel|>"], "gpt-oss"),
        (["<|system|>", "<|user|>", "<|assistant|>", "<|end|>"], "phi3"),
        (["a", "b"], "chatml"),
        ([], "chatml"),
    ],
)
def test_a_file_without_template_gets_the_one_that_its_tokens_show(
    tokens: list[str], name: str
) -> None:
    metadata = {"tokenizer.ggml.tokens": tokens}
    assert not has_template(metadata)
    assert ChatTemplate.from_metadata(metadata).source == load_template({}, name).source


def test_real_vocabularies_show_their_templates(shared: Path) -> None:
    found = {}
    for name in ("llama-bpe", "qwen2", "phi-3", "llama-spm"):
        with open_gguf(shared / "vocab" / f"ggml-vocab-{name}.gguf") as file:
            metadata = dict(file.metadata)
        metadata.pop("tokenizer.chat_template", None)
        found[name] = ChatTemplate.from_metadata(metadata).source
    wanted = {"llama-bpe": "llama3", "qwen2": "chatml", "phi-3": "phi3", "llama-spm": "chatml"}
    assert found == {name: load_template({}, builtin).source for name, builtin in wanted.items()}


def test_a_misspelt_name_is_answered_with_a_near_one() -> None:
    with pytest.raises(ModelError, match=r"found 'lama3'; did you mean 'llama3'\?"):
        load_template({}, "lama3")
    with pytest.raises(ModelError, match=r"there are: bailing, .*, zephyr$"):
        load_template({}, "qqqqq")


def test_a_template_that_is_no_text_is_an_error() -> None:
    with pytest.raises(ModelError, match=r"key tokenizer.chat_template: .* text, found int"):
        ChatTemplate.from_metadata({"tokenizer.chat_template": 3})


def test_a_damaged_template_of_a_file_is_an_error_with_its_line() -> None:
    with pytest.raises(ModelError, match=r"^tokenizer.chat_template, line 1: not a valid"):
        ChatTemplate.from_metadata({"tokenizer.chat_template": "{% if"})


def test_special_tokens_that_a_file_leaves_out_are_the_tokenizer_s(tiny_llama: Path) -> None:
    with open_gguf(tiny_llama) as file:
        metadata = dict(file.metadata)
        tokenizer = Tokenizer.from_gguf(file)
    metadata["tokenizer.chat_template"] = "{{ bos_token }}{{ eos_token }}"
    for role in ("bos", "eos"):
        metadata.pop(f"tokenizer.ggml.{role}_token_id", None)
    assert ChatTemplate.from_metadata(metadata).render([]) == ""
    assert ChatTemplate.from_metadata(metadata, tokenizer).render([]) == "<s></s>"
