# ruff: noqa: RUF001 (marks of families that are written with full-width characters)
"""Calls that are bound to their tools' schemas, as each family spells them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from chat.conversations import TOOLS
from chat.reply_cases import CASES, HARMONY, SIGNS, THINK
from grammars import DEMO_MODEL, Accepts
from jsonschema import Draft202012Validator
from walks import Walker

from gguf_run import ModelError
from gguf_run.chat import Reply, ReplyForm, ReplyParser
from gguf_run.loader import open_gguf
from gguf_run.structured import Constraint, ReplyPlan, ToolChoice
from gguf_run.structured.factory import ConstraintFactory
from gguf_run.tokenizer import Tokenizer

Schema = dict[str, Any]
WRITTEN = [sign for sign in SIGNS if ReplyForm.of(sign).tools.written is not None]
PROMPTS = {case.sign: case.prompt for case in reversed(CASES)}
SCHEMAS = {tool["function"]["name"]: tool["function"]["parameters"] for tool in TOOLS}
SPELT = {
    THINK: '<tool_call>\n{"name": "get_weather", "arguments": {"city": "x"}}\n</tool_call>',
    "<tool_call><function=": "<tool_call>\n<function=get_weather>\n<parameter=city>\nx\n"
    "</parameter>\n<parameter=days>\n[1]\n</parameter>\n</function>\n</tool_call>",
    "<tool_call><arg_key>": "<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>x"
    "</arg_value>\n</tool_call>\n<tool_call>now\n</tool_call>",
    "[TOOL_CALLS][ARGS]": '[TOOL_CALLS]now[ARGS]{}[TOOL_CALLS]get_weather[ARGS]{"city": ""}',
    "<｜tool▁call▁begin｜>```json": "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function"
    "<｜tool▁sep｜>now\n```json\n{}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
    "<｜tool▁call▁begin｜>": "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>now<｜tool▁sep｜>{}"
    "<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
    "<|tool_call_start|>": '<|tool_call_start|>[get_weather(city="x", days=[1]), now()]'
    "<|tool_call_end|>",
    HARMONY: "<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>"
    '{"city": "x"}',
    ">>>all": '>>>get_weather\n{"city": "x"}',
    '"parameters": ': '{"name": "get_weather", "parameters": {"city": "x"}}',
}


def bound(
    factory: ConstraintFactory, sign: str, prompt: str = "", tools: Any = TOOLS, **plan: Any
) -> Constraint:
    return factory.make(reply=ReplyPlan(ReplyForm.of(sign), prompt, tools, **plan))


def reply_of(sign: str, prompt: str, text: str) -> Reply:
    parser = ReplyParser(ReplyForm.of(sign), prompt, TOOLS)
    return Reply.of([*parser.push(text), *parser.finish()])


def wrong(reply: Reply) -> list[str]:
    return [
        error.message
        for call in reply.tool_calls
        for error in Draft202012Validator(SCHEMAS[call.name]).iter_errors(
            json.loads(call.arguments)
        )
    ]


@pytest.mark.parametrize("sign", WRITTEN)
def test_what_must_be_a_call_is_one_that_fits_its_schema(
    factory: ConstraintFactory, tokenizer: Tokenizer, sign: str
) -> None:
    form, prompt, walker = ReplyForm.of(sign), PROMPTS[sign], Walker(tokenizer)
    written = form.tools.written
    assert written is not None
    ends = [form.reasoning[1]] if form.reasoning and not form.harmony else []
    ends += [written.argument.partition("{value}")[2].replace("{key}", "city")]
    n_ended = 0
    for seed in range(4):
        several = seed % 2 == 0
        constraint = bound(factory, sign, prompt, must_call=True, several=several)
        text = walker.text(constraint, seed, [end for end in ends if len(end) > 2])
        if text is not None:
            n_ended += 1
            reply = reply_of(sign, prompt, text)
            assert reply.tool_calls, text
            assert not reply.content.strip(), text
            assert not wrong(reply), text
            assert several or len(reply.tool_calls) == 1
    assert n_ended


@pytest.mark.parametrize("sign", SPELT)
def test_calls_are_spelt_as_the_family_does(
    factory: ConstraintFactory, accepts: Accepts, sign: str
) -> None:
    text = SPELT[sign]
    assert accepts(bound(factory, sign, must_call=True), text)
    assert accepts(bound(factory, sign), text)
    assert not wrong(reply_of(sign, "", text))
    for damage in (('"x"', "1"), ("get_weather", "get_whether"), ("now", "then"), ("\nx\n", "")):
        if damage[0] in text:
            assert not accepts(bound(factory, sign, must_call=True), text.replace(*damage))
            assert not accepts(bound(factory, sign, must_call=True), "Well. " + text)


@pytest.mark.parametrize("sign", [THINK, "<tool_call><function=", "[TOOL_CALLS][ARGS]"])
def test_where_a_call_may_be_the_rest_is_free(
    factory: ConstraintFactory, accepts: Accepts, sign: str
) -> None:
    text = SPELT[sign]
    for free in ("", "Well. <tool_cal> {} [TOOL]\n", f"<b>\n\n{text}"):
        assert accepts(bound(factory, sign), free)
    assert not accepts(bound(factory, sign), "Well. " + text.replace("get_weather", "nothing"))


def test_reasoning_comes_before_a_call(factory: ConstraintFactory, accepts: Accepts) -> None:
    call = SPELT[THINK]
    for prompt, thoughts in (
        ("", ""),
        ("", "<think>\nI {hm} <tool_call>\n</think>\n\n"),
        ("<think>\n", "hm</think>\n\n"),
        ("<think>\n\n</think>\n\n", ""),
    ):
        assert accepts(bound(factory, THINK, prompt, must_call=True), thoughts + call)
    assert not accepts(bound(factory, THINK, "<think>\n", must_call=True), call)
    assert not accepts(bound(factory, THINK, "<think></think>", must_call=True), "<think></think>")


def test_a_reply_goes_on_where_its_prompt_has_begun_a_call(
    factory: ConstraintFactory, accepts: Accepts
) -> None:
    call = 'get_weather\n{"city": "x"}'
    assert accepts(bound(factory, ">>>all", ">>>", must_call=True), call)
    assert accepts(bound(factory, ">>>all", ">>>"), f"all\nWell.\n>>>{call}")
    assert not accepts(bound(factory, ">>>all", ">>>"), "none\nWell.")


def test_control_tokens_are_written_as_such() -> None:
    with open_gguf(DEMO_MODEL) as file:
        metadata: dict[str, Any] = dict(file.metadata)
    marks = ["[TOOL_CALLS]", "[ARGS]"]
    metadata["tokenizer.ggml.tokens"] = [*metadata["tokenizer.ggml.tokens"], *marks]
    for key, value in (("scores", np.float32(0)), ("token_type", np.int32(3))):
        key = f"tokenizer.ggml.{key}"
        metadata[key] = np.append(metadata[key], [value, value])
    tokenizer = Tokenizer.from_metadata(metadata, "test")
    factory = ConstraintFactory(tokenizer, tokenizer.n_vocab)
    calls, args = (tokenizer.n_vocab - 2, tokenizer.n_vocab - 1)
    constraint = bound(factory, "[TOOL_CALLS][ARGS]", must_call=True)
    assert constraint.mask().nonzero()[0].tolist() == [calls]
    constraint.accept(calls)
    pieces = [tokenizer.token_bytes(token) for token in range(tokenizer.n_vocab)]
    for piece in (b"n", b"o", b"w"):
        constraint.accept(pieces.index(piece))
    assert constraint.mask().nonzero()[0].tolist() == [args]
    free = bound(factory, "[TOOL_CALLS][ARGS]").mask()
    assert free[calls]
    assert not free[args]
    text = Walker(tokenizer).text(bound(factory, "[TOOL_CALLS][ARGS]", must_call=True), 3)
    assert text is not None
    assert not wrong(reply_of("[TOOL_CALLS]", "", text))


FIELDS: list[tuple[Schema, list[str], list[str]]] = [
    ({"type": "string"}, ["", "a\n<b>", '"'], ["a</parameter>", "<parameter=b>"]),
    ({"type": "string", "enum": ["x", "y z"]}, ["x", "y z"], ["y", '"x"']),
    ({"type": "string", "const": "x"}, ["x"], ["xx"]),
    ({"type": "string", "minLength": 2, "maxLength": 3}, ["ab", "äöü"], ["a", "abcd"]),
    ({"type": "integer", "minimum": 3}, ["3"], ["2", "x"]),
    ({"anyOf": [{"type": "string"}, {"type": "null"}]}, ['"x"', "null"], ["x"]),
    ({"$ref": "#/$defs/d"}, ["true"], ["1"]),
]


@pytest.mark.parametrize(("field", "valid", "invalid"), FIELDS, ids=lambda v: str(v)[:40])
def test_an_argument_in_tags_fits_its_schema(
    factory: ConstraintFactory,
    accepts: Accepts,
    field: Schema,
    valid: list[str],
    invalid: list[str],
) -> None:
    schema = {"type": "object", "properties": {"a": field}, "required": ["a"]}
    tool = {"name": "f", "parameters": {**schema, "$defs": {"d": {"type": "boolean"}}}}
    for texts, fits in ((valid, True), (invalid, False)):
        for text in texts:
            call = (
                f"<tool_call>\n<function=f>\n<parameter=a>\n{text}\n</parameter>\n</function>\n"
                "</tool_call>"
            )
            constraint = bound(factory, "<tool_call><function=", tools=[tool], must_call=True)
            assert accepts(constraint, call) == fits, text


def test_only_arguments_that_are_not_required_may_be_left_out(
    factory: ConstraintFactory, accepts: Accepts
) -> None:
    fields = {name: {"type": "integer"} for name in "abc"}
    tool = {"name": "f", "parameters": {"properties": fields, "required": ["b"]}}
    sign = "<|tool_call_start|>"
    for arguments, fits in (
        *(("b=1", True), ("a=1, b=2, c=3", True), ("b=2, c=3", True), ("a=1, b=2", True)),
        *(("", False), ("a=1", False), ("c=3", False), ("b=1, ", False), ("b=1, a=1", False)),
    ):
        text = f"<|tool_call_start|>[f({arguments})]<|tool_call_end|>"
        assert accepts(bound(factory, sign, tools=[tool], must_call=True), text) == fits, text


WRONG: list[tuple[str, Any, str]] = [
    (THINK, {"type": "function"}, "a function with a name"),
    (THINK, {"name": "a b"}, "a name of letters"),
    (THINK, {"name": "f", "parameters": 3}, "f: expected parameters as a schema"),
    (
        THINK,
        {"name": "f", "parameters": {"properties": {"a": {"type": "x"}}}},
        "tools: f: .*#/prop",
    ),
    ("<start_function_call>", {"name": "f"}, "leave the choice to the model"),
    (
        "<tool_call><function=",
        {"name": "f", "parameters": {"properties": {"a": {"type": "string", "pattern": "x"}}}},
        "a: expected a string .* found pattern",
    ),
    (
        "<tool_call><function=",
        {"name": "f", "parameters": {"anyOf": []}},
        "one by one, found anyOf",
    ),
    ("<tool_call><function=", {"name": "f", "parameters": {"required": ["x"]}}, "found none for"),
]


@pytest.mark.parametrize(("sign", "tool", "found"), WRONG, ids=lambda v: str(v)[:40])
def test_tools_that_cannot_be_bound_are_refused(
    factory: ConstraintFactory, sign: str, tool: Any, found: str
) -> None:
    with pytest.raises(ModelError, match=found):
        bound(factory, sign, tools=[tool], must_call=True)


def test_the_choice_says_what_is_shown_and_what_is_bound() -> None:
    strict = [{"type": "function", "function": {"name": "now", "strict": True}}]
    named = {"type": "function", "function": {"name": "now"}}
    assert ToolChoice.of(TOOLS, "none", True).shown is None
    assert ToolChoice.of(TOOLS, "auto", True) == ToolChoice(TOOLS, (), False, True)
    assert ToolChoice.of(TOOLS, "auto", False) == ToolChoice(TOOLS, TOOLS, False, False)
    assert ToolChoice.of(strict, "auto", True).bound == strict
    assert ToolChoice.of(TOOLS, "required", True) == ToolChoice(TOOLS, TOOLS, True, True)
    assert ToolChoice.of(TOOLS, named, True).bound == TOOLS[1:]
    assert ToolChoice.of(None, "auto", True).bound == ()
    for tools, choice in ((None, "required"), (TOOLS, "any"), (TOOLS, {"function": {"name": "x"}})):
        with pytest.raises(ModelError, match="tool_choice: expected"):
            ToolChoice.of(tools, choice, True)
