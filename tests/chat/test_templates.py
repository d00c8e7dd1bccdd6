"""Templates in the manner of real families, against texts recorded from transformers."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pytest

from chat.conversations import CONVERSATIONS, SPECIAL
from gguf_run.chat import ChatTemplate
from gguf_run.errors import ModelError

HERE = Path(__file__).parent
RECORD = json.loads((HERE / "data" / "transformers.json").read_text("utf-8"))
NOW = datetime.fromisoformat(RECORD["now"])
NAMES = sorted(path.stem for path in (HERE / "templates").glob("*.jinja"))


def template(name: str) -> ChatTemplate:
    source = (HERE / "templates" / f"{name}.jinja").read_text("utf-8")
    return ChatTemplate(source, name=name, special_tokens=SPECIAL, now=lambda: NOW)


def test_every_template_has_been_recorded() -> None:
    assert sorted(RECORD["texts"]) == NAMES
    assert all(set(texts) == set(CONVERSATIONS) for texts in RECORD["texts"].values())


@pytest.mark.parametrize("conversation", CONVERSATIONS)
@pytest.mark.parametrize("name", NAMES)
def test_a_template_renders_what_transformers_renders(name: str, conversation: str) -> None:
    messages, values = CONVERSATIONS[conversation]
    expected = RECORD["texts"][name][conversation]
    if expected is None:
        with pytest.raises(ModelError, match=rf"^{name}, line \d+: the template (refuses|fails)"):
            template(name).render(messages, **values)
    else:
        assert template(name).render(messages, **values) == expected
