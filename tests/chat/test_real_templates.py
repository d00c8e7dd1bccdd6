"""Real templates, as far as they lie on this machine, against texts recorded from transformers.

They are their authors', so the record has hashes. Two of them are in the shared vocabularies; for
a hundred more: `pip install --no-deps trl axolotl`.
"""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pytest

from chat.conversations import CONVERSATIONS, SPECIAL
from chat.real_templates import RECORD, digest, installed
from gguf_run.chat import ChatTemplate
from gguf_run.loader import open_gguf

RECORDED = json.loads(RECORD.read_text("utf-8"))
NOW = datetime.fromisoformat(RECORDED["now"])


def differing(source: str) -> list[str]:
    """The conversations whose text is not transformers'."""
    recorded = RECORDED["templates"][digest(source)]
    template = ChatTemplate(source, name=recorded["name"], special_tokens=SPECIAL, now=lambda: NOW)
    wanted = zip(RECORDED["conversations"], recorded["texts"].split(), strict=True)
    return [
        f"{recorded['name']}: {name}"
        for name, text in wanted
        # What transformers fails at may be rendered: messages are made to fit.
        if text != "-"
        and digest(template.render(CONVERSATIONS[name][0], **CONVERSATIONS[name][1])) != text
    ]


def test_the_record_is_of_these_conversations() -> None:
    assert RECORDED["conversations"] == list(CONVERSATIONS)
    assert len(RECORDED["templates"]) > 90
    texts = [text for each in RECORDED["templates"].values() for text in each["texts"].split()]
    assert len(texts) == len(RECORDED["templates"]) * len(CONVERSATIONS)
    assert texts.count("-") < len(texts) / 10


@pytest.mark.parametrize("name", ["phi-3", "qwen2"])
def test_the_template_of_a_file_renders_what_transformers_renders(shared: Path, name: str) -> None:
    with open_gguf(shared / "vocab" / f"ggml-vocab-{name}.gguf") as file:
        source = file.metadata["tokenizer.chat_template"]
    assert isinstance(source, str)
    assert not differing(source)


def test_installed_templates_render_what_transformers_renders() -> None:
    known = [source for source in installed() if digest(source) in RECORDED["templates"]]
    if not known:
        pytest.skip("neither trl nor axolotl is installed")
    assert not [each for source in known for each in differing(source)]
