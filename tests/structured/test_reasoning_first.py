"""What binds an answer begins behind its reasoning, and a budget ends that."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from chat.conversations import TOOLS
from grammars import DEMO_MODEL, Accepts
from jsonschema import Draft202012Validator

from gguf_run import ChatTemplate, Conversation, Model, ModelError
from gguf_run.chat import ReplyForm
from gguf_run.sampling import SamplerChain, SamplingParams
from gguf_run.structured import Drawer, ReasoningBudget, ReplyPlan
from gguf_run.structured.factory import ConstraintFactory
from gguf_run.tokenizer import Tokenizer

MESSAGES = [{"role": "user", "content": "Hello."}]
FLAG = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
CLOSED = {**FLAG, "additionalProperties": False}
HARMONY = "<|start|><|channel|><|message|>"
THINKING = ChatTemplate(
    "{% for m in messages %}{{ m.content }}\\n{% endfor %}<think>\\n{# </think> <tool_call> #}"
)


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    with Model(DEMO_MODEL, device="cpu", n_ctx=512) as model:
        yield model


@pytest.mark.parametrize(
    ("sign", "prompt", "before", "after"),
    [
        ("</think>", "", "", ""),
        ("</think>", "", '<think>{"a": hm\n</think>\n\n', ""),
        ("</think>", "<think>\n", "hm</think>", ""),
        ("</think>", "<think></think>\n\n", "", ""),
        ("", "", "", ""),
        (HARMONY, "", "<|channel|>final<|message|>", ""),
        (
            HARMONY,
            "",
            "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>",
            "",
        ),
        (
            "<|open|>",
            "<|open|>think<|sep|>",
            "hm<|close|>think<|sep|><|open|>response<|sep|>",
            "<|close|>response<|sep|>",
        ),
        ("<|open|>", "<|open|>response<|sep|>", "", "<|close|>response<|sep|>"),
        (">>>all", ">>>", "all\n", ""),
    ],
)
def test_content_is_bound_where_it_begins(
    factory: ConstraintFactory,
    accepts: Accepts,
    sign: str,
    prompt: str,
    before: str,
    after: str,
) -> None:
    plan = ReplyPlan(ReplyForm.of(sign), prompt)
    binding: list[tuple[dict[str, Any], str, str]] = [
        ({"json_schema": CLOSED}, '{"ok": true}', '{"ok": 1}'),
        ({"grammar": 'root ::= "a"+ b\nb ::= "b"'}, "aab", "aa"),
        ({"regex": "(x|y)z?"}, "yz", "z"),
    ]
    for options, valid, invalid in binding:
        assert accepts(factory.make(**options, reply=plan), before + valid + after)
        assert not accepts(factory.make(**options, reply=plan), before + invalid + after)
        assert not accepts(factory.make(**options, reply=plan), before)


def test_a_bound_answer_may_be_a_call_instead(factory: ConstraintFactory, accepts: Accepts) -> None:
    plan = ReplyPlan(ReplyForm.of("<tool_call>"), "", TOOLS)
    call = '<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>'
    for text, fits in ((call, True), ('{"ok": true}', True), ("Well.", False)):
        assert accepts(factory.make(json_schema=CLOSED, reply=plan), text) == fits


def test_an_answer_behind_reasoning_is_json(model: Model) -> None:
    wanted = {"type": "json_schema", "json_schema": {"schema": CLOSED}}
    for seed in range(4):
        answer = model.chat(
            MESSAGES,
            max_tokens=200,
            template=THINKING,
            response_format=wanted,
            reasoning_budget=10,
            seed=seed,
        )
        chunks = list(answer)
        assert chunks[-1].finish_reason == "stop"
        assert answer.reply.reasoning
        assert not list(Draft202012Validator(CLOSED).iter_errors(json.loads(answer.reply.content)))


def test_a_required_call_fits_its_schema(model: Model) -> None:
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 5}},
        "required": ["city"],
        "additionalProperties": False,
    }
    tools = [{"type": "function", "function": {"name": "weather", "parameters": schema}}]
    for template in (None, THINKING):
        talk = Conversation(model, tools=tools, template=template)
        answer = talk.send(
            "Hello.",
            200,
            tool_choice="required",
            parallel_tool_calls=False,
            reasoning_budget=5,
            seed=1,
        )
        chunks = list(answer)
        assert chunks[-1].finish_reason == "tool_calls"
        (call,) = answer.reply.tool_calls
        assert call.name == "weather"
        assert not list(Draft202012Validator(schema).iter_errors(json.loads(call.arguments)))
        assert not answer.reply.content.strip()


def test_without_a_choice_tools_are_not_shown(model: Model) -> None:
    shown = ChatTemplate("{{ tools }}{{ messages[0].content }}")
    answer = model.chat(MESSAGES, TOOLS, 1, template=shown, tool_choice="none")
    assert answer.timings.n_prompt < 20
    list(answer)


class Texts:
    """A budget over the demo model's vocabulary, fed with text."""

    def __init__(self, tokenizer: Tokenizer, n: int, prompt: str = "") -> None:
        self.end = tokenizer.encode("</think>", add_special=False)
        marks = ("<think>", "</think>")
        self.budget = ReasoningBudget(n, marks, prompt, tokenizer.token_bytes, self.end)
        self._of_byte = {
            piece: token
            for token in range(tokenizer.n_vocab)
            if len(piece := tokenizer.token_bytes(token)) == 1
        }

    def add(self, text: str) -> bool:
        """Whether something is forced behind a text."""
        for byte in text.encode():
            self.budget.accept(self._of_byte[bytes([byte])])
        return self.budget.forced is not None

    def take_forced(self) -> list[int]:
        taken = []
        while (token := self.budget.forced) is not None:
            self.budget.accept(token)
            taken.append(token)
        return taken


def test_the_end_of_reasoning_is_forced_behind_its_last_token(tokenizer: Tokenizer) -> None:
    begun = Texts(tokenizer, 3, "<think>\n")
    assert [begun.add(char) for char in "abc"] == [False, False, True]
    assert begun.take_forced() == begun.end
    assert not begun.add("and much more content")


def test_reasoning_that_ends_by_itself_is_left_alone(tokenizer: Tokenizer) -> None:
    texts = Texts(tokenizer, 20, "<think>\n")
    assert not texts.add("hm</think>" + "x" * 40)


def test_each_block_of_reasoning_has_a_budget(tokenizer: Tokenizer) -> None:
    texts = Texts(tokenizer, 2)
    assert not texts.add("no reasoning yet")
    for _ in range(2):
        assert not texts.add("<think>a")
        assert texts.add("b")
        assert texts.take_forced() == texts.end


def test_no_budget_ends_reasoning_at_once(tokenizer: Tokenizer) -> None:
    assert Texts(tokenizer, 0, "<think>\n").take_forced()
    texts = Texts(tokenizer, 0)
    assert texts.add("<think>")


def test_no_character_is_torn(tokenizer: Tokenizer) -> None:
    texts = Texts(tokenizer, 2, "<think>")
    bytes_of_euro = ["€".encode()[i : i + 1] for i in range(3)]
    of_byte = texts._of_byte
    forced = []
    for byte in bytes_of_euro:
        texts.budget.accept(of_byte[byte])
        forced.append(texts.budget.forced is not None)
    assert forced == [False, False, True]


def test_what_is_forced_is_drawn_unless_a_grammar_forbids_it(
    factory: ConstraintFactory, tokenizer: Tokenizer
) -> None:
    logits = np.random.default_rng(0).normal(size=tokenizer.n_vocab).astype("f4")
    for grammar, fits in (("root ::= .*", True), ("root ::= [a-d]*", False)):
        budget = Texts(tokenizer, 0, "<think>").budget
        chain = SamplerChain(SamplingParams(seed=1), tokenizer.n_vocab)
        drawer = Drawer(chain, factory.from_gbnf(grammar), budget=budget)
        assert drawer.on_device() is None
        drawn = b"".join(tokenizer.token_bytes(drawer.draw(logits).token) for _ in range(8))
        assert drawn.lstrip().startswith(b"</think>") == fits
        assert budget.forced is None


def test_a_budget_below_minus_one_is_refused(model: Model) -> None:
    with pytest.raises(ModelError, match="reasoning_budget: expected at least -1"):
        model.chat(MESSAGES, reasoning_budget=-2)
    list(model.chat(MESSAGES, max_tokens=1, reasoning_budget=-1))
