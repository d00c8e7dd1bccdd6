# ruff: noqa: RUF001 (marks of families that are written with full-width characters)
"""What tool calls say that are written as tags, one for each argument."""

from __future__ import annotations

import re
from typing import Any

from gguf_run.chat.tool_bodies import RawCall, Types, dumps, json_calls, loads, named

# Names end at a line, and texts at the next one's beginning: so a search stays linear in the text.
_FUNCTION = re.compile(r"<function=([^<>\n]+)>(.*?)(?:</function>|\Z)", re.DOTALL)
_PARAMETER = re.compile(
    r"<parameter=([^<>\n]+)()>\n?(.*?)(?:\n?</parameter>|(?=<parameter=)|\Z)", re.DOTALL
)
_INVOKE = re.compile(
    r'<(?:invoke|function) name="([^"<>\n]+)">(.*?)(?:</(?:invoke|function)>|\Z)', re.DOTALL
)
_INVOKE_PARAMETER = re.compile(
    r'<param(?:eter)? name="([^"<>\n]+)"([^<>\n]*)>(.*?)(?:</param(?:eter)?>|(?=<param)|\Z)',
    re.DOTALL,
)
_NAMESPACES = re.compile("｜DSML｜|｜GCML｜|steptml:")
_KEY_TAG, _VALUE_TAG = r"(?:\w+[_|])?arg_key(?::\w+)?>", r"(?:\w+[_|])?arg_value(?::\w+)?>"
_KEY_VALUE = re.compile(
    rf"<{_KEY_TAG}([^<]*)</{_KEY_TAG}\s*<{_VALUE_TAG}(.*?)(?:</{_VALUE_TAG}|\Z)", re.DOTALL
)
_NAME_END = re.compile(rf"<(?:{_KEY_TAG}|tool_sep(?::\w+)?>)")


def _typed(text: str, kind: str | None) -> Any:
    """A value that is written without quotes: by its type in the schema, else as JSON if it is."""
    if kind == "string":
        return text
    value = loads(text)
    return text if value is None and text.strip() != "null" else value


def _tagged(
    body: str, types: Types, function: re.Pattern[str], parameter: re.Pattern[str]
) -> list[RawCall]:
    calls = []
    for name, inside in function.findall(body):
        if inside.lstrip().startswith("{"):
            calls.extend(named(f"{name}\n{inside}", "\n"))
            continue
        values = {
            key: text if 'string="true"' in more else _typed(text, types.get((name, key)))
            for key, more, text in parameter.findall(inside)
        }
        calls.append(RawCall(name.strip(), dumps(values)))
    return calls


def functions_calls(body: str, types: Types) -> list[RawCall]:
    """`<function=name><parameter=key>value</parameter></function>`, or JSON inside."""
    return _tagged(body, types, _FUNCTION, _PARAMETER)


def function_tag_calls(body: str, types: Types) -> list[RawCall]:
    """What stands between `<function=` and its end."""
    return functions_calls(f"<function={body}</function>", types)


def invokes_calls(body: str, types: Types) -> list[RawCall]:
    """`<invoke name="f"><parameter name="key">value</parameter></invoke>`, and its likes."""
    return _tagged(_NAMESPACES.sub("", body), types, _INVOKE, _INVOKE_PARAMETER)


def named_tag_calls(body: str, types: Types) -> list[RawCall]:
    """What stands between `<function name="`, or `<invoke name="`, and its end."""
    return invokes_calls(f'<function name="{body}</function>', types)


def step_calls(body: str, types: Types) -> list[RawCall]:
    """`function<sep>` and an invoke tag."""
    return invokes_calls(body.partition("<｜tool_sep｜>")[2], types)


def hermes_calls(body: str, types: Types) -> list[RawCall]:
    """What stands between `<tool_call>` and its end: JSON, or one of two kinds of tags."""
    body = body.strip()
    if body.startswith(("{", "[", "```")):
        return json_calls(body, types)
    if "<function=" in body:
        return functions_calls(body, types)
    end = _NAME_END.search(body)
    name, rest = (body[: end.start()].strip(), body[end.end() :]) if end else (body, "")
    if not name or any(char.isspace() for char in name):
        return []
    if rest.lstrip().startswith("{"):
        return named(f"{name}\n{rest}", "\n")
    values = {
        key.strip(): _typed(text, types.get((name, key.strip())))
        for key, text in _KEY_VALUE.findall(body)
    }
    return [RawCall(name, dumps(values))]


_ATTRIBUTE = re.compile(r' (\w+)="([^"<]*)"')


def open_tag_calls(body: str, types: Types) -> list[RawCall]:
    """`tool="name"<sep><open>argument key="k" type="string"<sep>value<close>argument<sep>`, the
    type being the value's; or all arguments as JSON, in a tag of that name."""
    call, *arguments = body.split("<|open|>")
    name = _attributes(f" {call}").get("tool", "")
    values: dict[str, Any] = {}
    for argument in arguments:
        head, _, rest = argument.partition("<|sep|>")
        attributes = _attributes(head)
        text = rest.partition("<|close|>")[0]
        if head.startswith("json"):
            value = loads(text)
            values |= value if isinstance(value, dict) else {}
        elif "key" in attributes:
            key = attributes["key"]
            values[key] = _typed(text, attributes.get("type", types.get((name, key))))
    return [RawCall(name, dumps(values))] if name else []


def _attributes(head: str) -> dict[str, str]:
    return {
        key: value.replace("&quot;", '"').replace("&amp;", "&")
        for key, value in _ATTRIBUTE.findall(head)
    }


def solar_tag_calls(body: str, types: Types) -> list[RawCall]:
    """`name`, a line break and `<|tool_arg:start|>key<|tool_arg:value|>value<|tool_arg:end|>`."""
    name, *arguments = body.split("<|tool_arg:start|>")
    values = {}
    for argument in arguments:
        key, found, text = argument.partition("<|tool_arg:value|>")
        if found:
            text = text.partition("<|tool_arg:end|>")[0]
            values[key] = _typed(text, types.get((name.strip(), key)))
    return [RawCall(name.strip(), dumps(values))] if name.strip() else []


_MINIMAX = "]<]minimax[>["
_MINIMAX_TAG = re.compile(r'<(/?)([^<>\s]+)(?: name="([^"<>\n]+)")?>')
_MAX_NESTING = 64


def minimax_calls(body: str, types: Types) -> list[RawCall]:
    """`<invoke name="f"><key>value</key></invoke>` with a mark before each tag; values may be tags
    again, of an object's keys, or `item` for those of a list."""
    tree: list[Any] = ["", "", []]
    stack = [tree]
    for part in body.split(_MINIMAX)[1:]:
        tag = _MINIMAX_TAG.match(part)
        if tag is None or len(stack) > _MAX_NESTING:
            return []
        if not tag[1]:
            stack[-1][2].append([tag[2], part[tag.end() :], [], tag[3] or ""])
            stack.append(stack[-1][2][-1])
        elif len(stack) == 1 or stack.pop()[0] != tag[2]:
            return []
    calls = [each for each in tree[2] if each[0] == "invoke" and each[3]]
    return [RawCall(each[3], dumps(_members(each, types, each[3]))) for each in calls]


def _members(node: list[Any], types: Types, function: str) -> dict[str, Any]:
    return {
        each[0]: _value(each) if each[2] else _typed(each[1], types.get((function, each[0])))
        for each in node[2]
    }


def _value(node: list[Any]) -> Any:
    _, text, children, _ = node
    if not children:
        return _typed(text, None)
    if all(child[0] == "item" for child in children):
        return [_value(child) for child in children]
    return {child[0]: _value(child) for child in children}
