"""Replies of many families, taken apart whole and in pieces of every size."""

from __future__ import annotations

import json
import random
import time
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chat.conversations import TOOLS
from chat.reply_cases import CALL, CASES, HARMONY, SIGNS, THINK, Case
from gguf_run.chat import ChatTemplate, Delta, Reply, ReplyForm, ReplyParser


def parsed(case: Case, pieces: list[str]) -> list[Delta]:
    parser = ReplyParser(ReplyForm.of(case.sign), case.prompt, TOOLS)
    deltas = [delta for piece in pieces for delta in parser.push(piece)]
    return deltas + parser.finish()


def said(case: Case, deltas: list[Delta]) -> tuple[Any, ...]:
    reply = Reply.of(deltas)
    calls = tuple((call.name, json.loads(call.arguments)) for call in reply.tool_calls)
    return reply.content, reply.reasoning, calls


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_reply_is_taken_apart(case: Case) -> None:
    expected = (case.content, case.reasoning, case.calls)
    assert said(case, parsed(case, [case.text])) == expected
    ids = tuple(call.id for call in Reply.of(parsed(case, [case.text])).tool_calls)
    assert ids == case.ids or (not case.ids and len(set(ids)) == len(case.calls))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_reply_in_pieces_is_the_same(case: Case) -> None:
    expected = (case.content, case.reasoning, case.calls)
    assert said(case, parsed(case, list(case.text))) == expected
    draw = random.Random(0)
    for _ in range(20):
        cuts = sorted(draw.choices(range(len(case.text) + 1), k=draw.randint(1, 8)))
        pieces = [case.text[a:b] for a, b in zip([0, *cuts], [*cuts, None], strict=True)]
        assert said(case, parsed(case, pieces)) == expected


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_has_been_shown_is_never_taken_back(case: Case) -> None:
    for n in range(len(case.text)):
        parser = ReplyParser(ReplyForm.of(case.sign), case.prompt, TOOLS)
        shown = Reply.of(parser.push(case.text[:n]))
        assert case.content.startswith(shown.content)
        assert case.reasoning.startswith(shown.reasoning)
        assert shown.tool_calls == () or case.calls


def test_text_is_shown_as_it_comes() -> None:
    parser = ReplyParser(ReplyForm.of(THINK), "", TOOLS)
    shown = [
        parser.push(piece) for piece in ("<thi", "nk>I", " see", "</", "think>", "\nHi", " <b", ">")
    ]
    texts = [[(d.kind, d.text) for d in deltas] for deltas in shown]
    assert texts == [
        [],
        [("reasoning", "I")],
        [("reasoning", " see")],
        [],
        [],
        [("content", "Hi")],
        [("content", " <b")],
        [("content", ">")],
    ]


def test_without_tools_nothing_is_a_call() -> None:
    text = f"<tool_call>{CALL}</tool_call>"
    parser = ReplyParser(ReplyForm.of(THINK))
    assert Reply.of([*parser.push(text), *parser.finish()]).content == text


@pytest.mark.parametrize(
    ("sign", "text"),
    [
        (THINK, '<tool_call>{"name": "now", "arguments": {"a": "\\ud83d"}}</tool_call>'),
        ("<|tool_call_start|>", '<|tool_call_start|>[now(a="\\ud83d\\ude00")]<|tool_call_end|>'),
        (HARMONY, '<|channel|>c to=functions.now<|message|>{"a": "\\ud83d"}<|call|>'),
    ],
)
def test_arguments_can_be_encoded_whatever_they_say(sign: str, text: str) -> None:
    (call,) = Reply.of(parsed(Case("", sign, text), [text])).tool_calls
    assert "ud83d" in call.arguments.encode().decode()


def test_calls_without_id_get_one_of_nine_letters_and_digits() -> None:
    parser = ReplyParser(ReplyForm.of(THINK), "", TOOLS)
    calls = Reply.of(parser.push(f"<tool_call>{CALL}</tool_call>" * 2)).tool_calls
    assert len({call.id for call in calls}) == 2
    assert all(len(call.id) == 9 and call.id.isalnum() for call in calls)


def test_a_template_makes_the_parser_of_its_family() -> None:
    template = ChatTemplate(
        "{% for m in messages %}{{ m.content }}{% endfor %}<think>\n{# </think> [TOOL_CALLS] #}"
    )
    prompt = template.render([{"role": "user", "content": "q"}])
    parser = template.reply_parser(prompt, TOOLS)
    reply = Reply.of([*parser.push("hm</think>[TOOL_CALLS]now{}"), *parser.finish()])
    assert (reply.reasoning, reply.content, reply.tool_calls[0].name) == ("hm", "", "now")


MARKS = [
    "<think>",
    "</think>",
    "<tool_call>",
    "</tool_call>",
    "[TOOL_CALLS]",
    "[ARGS]",
    "<|channel|>",
    "<|message|>",
    "<|end|>",
    "<|start|>",
    "<function=",
    "<parameter=",
    "<arg_key>",
    "<|python_tag|>",
    "final",
    "to=f",
    "a",
    "<",
    "|",
    "{",
    "}",
    "[",
    "]",
    '"',
    "\\",
    ";",
    "now",
]
MARKS += [" ", "\n", "\t", "\u00a0", '{"name": "now", "arguments": {}}', '{"name"', '{"b": 1}']


def marks_of(sign: str) -> list[str]:
    """What may come in replies of a family: the marks of all, and its own."""
    form = ReplyForm.of(sign)
    reasoning = form.reasoning or ()
    return [*MARKS, *reasoning, *form.tools.silent, form.tools.open, form.tools.close, *form.silent]


@st.composite
def replies(draw: st.DrawFn) -> tuple[str, list[str], str]:
    """A family, pieces, and a prompt, which may end with a mark or a part of one."""
    sign = draw(st.sampled_from(SIGNS))
    mark = draw(st.sampled_from(marks_of(sign)))
    prompt = draw(st.sampled_from(["", mark, mark[:-1], mark[:2]]))
    return sign, draw(st.lists(st.sampled_from(marks_of(sign)), max_size=12)), prompt


CALL_NOW = '{"name": "now", "arguments": {}}'


@settings(max_examples=300, deadline=None)
@example(reply=("<|python_tag|>", [CALL_NOW, ";", "<think>"], ""))
@example(reply=("<|python_tag|>", ["\t", CALL_NOW], ""))
@example(reply=("<|python_tag|>", [" ", '{"name"', '{"b": 1}'], ""))
@example(reply=("", ["<tool_call>", '{"b": 1}', "{", "</tool_call>", "<tool_call>", "<"], ""))
@example(reply=(THINK, ["<think>"], "<too"))
@given(reply=replies())
def test_any_text_is_taken_apart_the_same_way_in_any_pieces(
    reply: tuple[str, list[str], str],
) -> None:
    sign, parts, prompt = reply
    case = Case("", sign, "".join(parts), prompt=prompt)
    assert said(case, parsed(case, parts)) == said(case, parsed(case, [case.text]))
    assert said(case, parsed(case, list(case.text))) == said(case, parsed(case, [case.text]))


@pytest.mark.parametrize("sign", SIGNS)
@pytest.mark.parametrize("in_a_call", [False, True])
def test_long_hostile_replies_take_linear_time(sign: str, in_a_call: bool) -> None:
    tools = ReplyForm.of(sign).tools
    units = {
        "<tool_call>",
        "<",
        "[TOOL_CALLS]",
        "{",
        "[",
        "<function=",
        "<arg_key>",
        "</",
        "(",
        " ",
    }
    units |= {"<parameter=a>", '<invoke name="a">', "<|tool_arg:start|>a<|tool_arg:value|>"}
    units |= {'<|open|>argument key="a"<|sep|>', "]<]minimax[>[<a>", "<arg_key>a</arg_key>"}
    units |= {mark for mark in (tools.open, tools.close, *tools.silent) if mark}
    for unit in sorted(units):
        head = tools.open if in_a_call else ""
        case = Case("", sign, head + unit * (10_000 // len(unit)) + tools.close)
        begin = time.process_time()
        parsed(case, [case.text[i : i + 20] for i in range(0, len(case.text), 20)])
        assert time.process_time() - begin < 0.5, unit
