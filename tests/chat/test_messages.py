"""What templates are given: messages made to fit, tools, special tokens, options."""

from __future__ import annotations

import enum
import threading
from typing import Any

import numpy as np
import pytest

from gguf_run.chat import ChatTemplate
from gguf_run.errors import ModelError

CONTENT = "{% for m in messages %}[{{ m.role }}:{{ m.content }}]{% endfor %}"
PARTS = (
    "{% for m in messages %}[{{ m.role }}:"
    "{% for p in m.content %}{% if p.type == 'text' %}{{ p.text }}{% else %}<{{ p.type }}>"
    "{% endif %}{% endfor %}]{% endfor %}"
)
BOTH = (
    "{% for m in messages %}{% if m.content is string %}{{ m.content }}{% else %}"
    "{% for p in m.content %}<{{ p.text }}>{% endfor %}{% endif %}{% endfor %}"
)
ARGUMENTS = (
    "{% for m in messages %}{{ m.content }}{% for c in m.tool_calls or [] %}"
    "{{ c.function.name }}(@){% endfor %}{% endfor %}"
)


def parts(*texts: str) -> list[dict[str, str]]:
    return [{"type": "text", "text": text} for text in texts]


def calling(arguments: Any, content: str | None = "") -> list[dict[str, Any]]:
    function = {"name": "f", "arguments": arguments}
    call = {"id": "1", "type": "function", "function": function}
    return [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": content, "tool_calls": [call]},
    ]


def render(text: str, messages: list[dict[str, Any]], **values: Any) -> str:
    return ChatTemplate(text).render(messages, **values)


def test_parts_become_text_where_a_template_takes_text() -> None:
    assert render(CONTENT, [{"role": "user", "content": parts("a", "b")}]) == "[user:a\nb]"


def test_text_becomes_a_part_where_a_template_takes_parts() -> None:
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": parts("a", "b")}]
    assert render(PARTS, messages) == "[system:s][user:ab]"


def test_a_template_that_takes_both_gets_what_there_is() -> None:
    messages = [{"role": "user", "content": "a"}, {"role": "user", "content": parts("b", "c")}]
    assert render(BOTH, messages) == "a<b><c>"


def test_an_image_for_a_template_of_text_is_an_error() -> None:
    messages = [{"role": "user", "content": [*parts("a"), {"type": "image_url", "image_url": ""}]}]
    with pytest.raises(ModelError, match=r"messages\[0\].content\[1\]: expected a part with text"):
        render(CONTENT, messages)


def test_an_image_goes_to_a_template_that_takes_parts() -> None:
    messages = [{"role": "user", "content": [*parts("a"), {"type": "image"}]}]
    assert render(PARTS, messages) == "[user:a<image>]"


@pytest.mark.parametrize("given", [{"a": 1}, '{"a": 1}'])
@pytest.mark.parametrize(
    "written", ["{{ c.function.arguments|tojson }}", '{{ "" + c.function.arguments }}']
)
def test_arguments_come_as_the_template_writes_them(given: Any, written: str) -> None:
    assert render(ARGUMENTS.replace("@", written), calling(given)) == 'qf({"a": 1})'


def test_arguments_that_are_no_json_stay_as_they_are() -> None:
    text = ARGUMENTS.replace("@", "{{ c.function.arguments|tojson }}")
    assert render(text, calling("{oh")) == 'qf("{oh")'


def test_a_call_without_content_is_not_written_as_none() -> None:
    text = ARGUMENTS.replace("@", "")
    assert render(text, calling({}, None)) == "qf()"


def test_a_template_that_knows_null_gets_null() -> None:
    text = (
        "{% for m in messages %}{% if m.content is none %}-{% else %}{{ m.content }}{% endif %}"
        "{% endfor %}"
    )
    assert render(text, calling({}, None)) == "q-"


def test_reasoning_has_the_names_that_templates_read() -> None:
    text = "{{ messages[0].reasoning_content }}{{ messages[0].thinking }}"
    for name in ("reasoning_content", "thinking", "reasoning"):
        assert render(text, [{"role": "assistant", "content": "", name: "hm"}]) == "hmhm"


def test_tools_and_documents_that_are_not_given_are_none() -> None:
    assert render("{{ tools is none and documents is none }}", []) == "True"


def test_options_reach_the_template() -> None:
    text = "{{ enable_thinking }}{{ documents[0].title }}{{ tools|length }}{{ unknown is defined }}"
    values = {"enable_thinking": False, "documents": [{"title": "T"}], "tools": [{}]}
    assert render(text, [], **values) == "FalseT1False"


def test_special_tokens_are_variables_that_options_override() -> None:
    template = ChatTemplate("{{ bos_token }}{{ eos_token }}", special_tokens={"bos_token": "<s>"})
    assert template.render([]) == "<s>"
    assert template.render([], bos_token="<b>", eos_token="<e>") == "<b><e>"


def test_the_generation_prompt_is_asked_for_by_default() -> None:
    text = "{{ add_generation_prompt }}"
    assert render(text, []) + render(text, [], add_generation_prompt=False) == "TrueFalse"


def test_values_are_copied_as_plain_types() -> None:
    class Role(str, enum.Enum):
        USER = "user"

    class Message(dict[str, Any]):
        def secret(self) -> str:
            return "secret"

    text = "{{ messages[0].role }}{{ messages[0].n }}{{ messages[0].secret is defined }}"
    assert render(text, [Message(role=Role.USER, content="", n=(1, 2))]) == "user[1, 2]False"


@pytest.mark.parametrize(
    ("value", "where"),
    [
        (np.zeros(2), r"messages\[0\].content: expected text, .* found ndarray"),
        ({1: 2}, r"messages\[0\].content: expected names as keys, found 1"),
        ([object()], r"messages\[0\].content\[0\]: .* found object"),
    ],
)
def test_values_that_are_no_json_are_refused(value: object, where: str) -> None:
    with pytest.raises(ModelError, match=where):
        render(CONTENT, [{"role": "user", "content": value}])


def test_deep_values_are_refused() -> None:
    deep: list[Any] = []
    deep.append(deep)
    with pytest.raises(ModelError, match="at most 64 deep"):
        render(CONTENT, [{"role": "user", "content": deep}])


def test_a_message_has_to_be_a_mapping() -> None:
    with pytest.raises(ModelError, match=r"messages\[0\]: expected a mapping, found 'hi'"):
        render(CONTENT, ["hi"])  # type: ignore[list-item]


def test_support_of_system_messages_is_found_out() -> None:
    assert ChatTemplate(CONTENT).supports_system
    refuses = "{% if messages[0].role == 'system' %}{{ raise_exception('no') }}{% endif %}"
    assert not ChatTemplate(refuses + CONTENT).supports_system
    ignores = CONTENT.replace("in messages", "in messages if m.role != 'system'")
    assert not ChatTemplate(ignores).supports_system


def test_what_a_template_refuses_is_told_with_its_words_and_line() -> None:
    text = "\n{{ raise_exception('Roles must alternate') }}"
    with pytest.raises(ModelError, match=r"line 2: the template refuses .*: Roles must alternate$"):
        render(text, [])


@pytest.mark.parametrize(
    "text", ["{{ messages", "{% if %}", "{% for m in messages %}", "{% nosuchtag %}", "{{ 1|no }}"]
)
def test_what_is_no_template_is_told_with_its_line(text: str) -> None:
    with pytest.raises(ModelError, match=r"line 2: not a valid Jinja template: "):
        ChatTemplate("x\n" + text)


def test_lists_that_a_template_never_looks_at_are_not_made() -> None:
    text = "{% set parts = none|selectattr('type', 'equalto', 'text') %}{{ parts is defined }}"
    assert render(text, []) == "True"


def test_a_test_leaves_an_iterator_as_it_is() -> None:
    text = "{% set big = ['a', 'b']|map('upper') %}{{ big is iterable }}{{ big|default(1)|join }}"
    assert render(text, []) == "TrueAB"


def test_a_template_can_be_rendered_by_many_threads_at_once() -> None:
    template = ChatTemplate(CONTENT)
    results: list[str] = []

    def work(name: str) -> None:
        results.extend(template.render([{"role": "user", "content": name}]) for _ in range(50))

    threads = [threading.Thread(target=work, args=(f"t{i}",)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == sorted(f"[user:t{i}]" for i in range(4) for _ in range(50))
