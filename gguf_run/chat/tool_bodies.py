# ruff: noqa: RUF001 (marks of families that are written with full-width characters)
"""What tool calls say: one function for each way in which model families write them."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

Types: TypeAlias = Mapping[tuple[str, str], str]
"""(function, parameter) -> JSON type, from the tools' schemas."""


@dataclass(frozen=True, slots=True)
class RawCall:
    """A call as the model wrote it; `id` is None where the family has none."""

    name: str
    arguments: str
    id: str | None = None


Parse: TypeAlias = Callable[[str, Types], "list[RawCall]"]


def types_of(tools: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], str]:
    """The types that tools' schemas give to parameters."""
    types: dict[tuple[str, str], str] = {}
    for tool in tools:
        function = tool.get("function")
        function = function if isinstance(function, Mapping) else tool
        schema = function.get("parameters")
        fields = schema.get("properties") if isinstance(schema, Mapping) else None
        for name, field in fields.items() if isinstance(fields, Mapping) else ():
            kind = field.get("type") if isinstance(field, Mapping) else None
            if isinstance(kind, str):
                types[str(function.get("name")), name] = kind
    return types


def _loads(text: str) -> Any:
    """The JSON value of a text, perhaps in a code fence; None if it is none."""
    text = text.strip()
    if text.startswith("```"):
        text = text.removeprefix("```json").strip("`").strip()
    try:
        return json.loads(text, parse_constant=_no_json)
    except (ValueError, RecursionError):
        return None


def _no_json(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def json_calls(body: str, types: Types) -> list[RawCall]:
    """`{"name": ..., "arguments": {...}}`, or a list of such; under their other names too."""
    value = _loads(body)
    found = [_json_call(item) for item in (value if isinstance(value, list) else [value])]
    calls = [call for call in found if call is not None]
    return calls if len(calls) == len(found) else []


def _json_call(value: Any) -> RawCall | None:
    if not isinstance(value, dict):
        return None
    if isinstance(value.get("function"), dict):
        value = {**value, **value["function"]}
    name = value.get("name", value.get("tool_name", value.get("function")))
    arguments: Any = next((value[k] for k in ("arguments", "parameters", "args") if k in value), {})
    call_id = value.get("id", value.get("tool_call_id"))
    if isinstance(arguments, str):
        arguments = _loads(arguments)
    if not isinstance(name, str) or not isinstance(arguments, (dict, type(None))):
        return None
    return RawCall(name, _dumps(arguments or {}), None if call_id is None else str(call_id))


_KIMI_NAME = re.compile(r"(?:functions\.)?(?P<name>.+?)(?::\d+)?$")


def _named(body: str, *marks: str) -> list[RawCall]:
    """`name<mark>{...}`."""
    for mark in marks:
        name, found, arguments = body.partition(mark)
        if found:
            value = _loads(arguments)
            return [RawCall(name.strip(), _dumps(value))] if isinstance(value, dict) else []
    return []


def deepseek_calls(body: str, types: Types) -> list[RawCall]:
    """`function<sep>name`, a line break and fenced JSON; or `name<sep>{...}`."""
    head, _, rest = body.partition("<｜tool▁sep｜>")
    if head.strip() == "function":
        return _named(rest, "\n")
    return _named(body, "<｜tool▁sep｜>")


def kimi_calls(body: str, types: Types) -> list[RawCall]:
    """`functions.name:0<mark>{...}`; what stands before the mark is the id."""
    calls = _named(body, "<|tool_call_argument_begin|>")
    for call in calls:
        match = _KIMI_NAME.match(call.name)
        if match:
            return [RawCall(match["name"], call.arguments, call.name)]
    return []


def mistral_calls(body: str, types: Types) -> list[RawCall]:
    """A list as in `json_calls`; or `name[CALL_ID]id[ARGS]{...}`, marks being optional."""
    if body.lstrip().startswith("["):
        return json_calls(body, types)
    head, found, arguments = body.partition("[ARGS]")
    if not found:
        at = body.find("{")
        head, arguments = body[:at], body[at:]
    name, _, call_id = head.partition("[CALL_ID]")
    value = _loads(arguments)
    if not name.strip() or not isinstance(value, dict):
        return []
    return [RawCall(name.strip(), _dumps(value), call_id.strip() or None)]


def _typed(text: str, kind: str | None) -> Any:
    """A value that is written without quotes: by its type in the schema, else as JSON if it is."""
    if kind == "string":
        return text
    value = _loads(text)
    return text if value is None and text.strip() != "null" else value


# Names end at a line, and texts at the next one's beginning: so a search stays linear in the text.
_FUNCTION = re.compile(r"<function=([^<>\n]+)>(.*?)(?:</function>|\Z)", re.DOTALL)
_PARAMETER = re.compile(
    r"<parameter=([^<>\n]+)>\n?(.*?)(?:\n?</parameter>|(?=<parameter=)|\Z)", re.DOTALL
)
_INVOKE = re.compile(
    r'<(?:invoke|function) name="([^"<>\n]+)">(.*?)(?:</(?:invoke|function)>|\Z)', re.DOTALL
)
_INVOKE_PARAMETER = re.compile(
    r'<param(?:eter)? name="([^"<>\n]+)"[^<>\n]*>(.*?)(?:</param(?:eter)?>|(?=<param)|\Z)',
    re.DOTALL,
)
_GLM_ARGUMENT = re.compile(
    r"<arg_key>([^<]*)</arg_key>\s*<arg_value>(.*?)(?:</arg_value>|\Z)", re.DOTALL
)


def _tagged(body: str, types: Types, function: re.Pattern[str], parameter: re.Pattern[str]) -> Any:
    calls = []
    for name, inside in function.findall(body):
        if inside.lstrip().startswith("{"):
            calls.extend(_named(f"{name}\n{inside}", "\n"))
            continue
        values = {
            key: _typed(text, types.get((name, key))) for key, text in parameter.findall(inside)
        }
        calls.append(RawCall(name.strip(), _dumps(values)))
    return calls


def functions_calls(body: str, types: Types) -> list[RawCall]:
    """`<function=name><parameter=key>value</parameter></function>`, or JSON inside."""
    calls: list[RawCall] = _tagged(body, types, _FUNCTION, _PARAMETER)
    return calls


def invokes_calls(body: str, types: Types) -> list[RawCall]:
    """`<invoke name="f"><parameter name="key">value</parameter></invoke>`, and its likes."""
    body = body.replace("｜DSML｜", "")
    calls: list[RawCall] = _tagged(body, types, _INVOKE, _INVOKE_PARAMETER)
    return calls


def hermes_calls(body: str, types: Types) -> list[RawCall]:
    """What stands between `<tool_call>` and its end: JSON, or one of two kinds of tags."""
    body = body.strip()
    if body.startswith(("{", "[", "```")):
        return json_calls(body, types)
    if "<function=" in body:
        return functions_calls(body, types)
    name = body.partition("<arg_key>")[0].strip()
    if not name or any(char.isspace() for char in name):
        return []
    values = {
        key.strip(): _typed(text, types.get((name, key.strip())))
        for key, text in _GLM_ARGUMENT.findall(body)
    }
    return [RawCall(name, _dumps(values))]


_LONGEST_PYTHON = 20_000


def python_calls(body: str, types: Types) -> list[RawCall]:
    """`[name(key=value), ...]`, values being Python's constants."""
    if len(body) > _LONGEST_PYTHON:
        return []
    try:
        tree = ast.parse(body.strip(), mode="eval").body
        return [
            _python_call(item) for item in (tree.elts if isinstance(tree, ast.List) else [tree])
        ]
    except (SyntaxError, TypeError, ValueError, RecursionError, MemoryError):
        return []


def _python_call(node: ast.expr) -> RawCall:
    if not isinstance(node, ast.Call) or node.args:
        raise ValueError("no call by keywords")
    values = {str(item.arg): ast.literal_eval(item.value) for item in node.keywords}
    return RawCall(ast.unparse(node.func), _dumps(values))


_GEMMA_CALL = re.compile(r"\s*call:([^\s{]+)(\{.*\})\s*", re.DOTALL)
_GEMMA_KEY = re.compile(r"([{,]\s*)([^\s{},:\[\]\"]+)\s*:")


def gemma_calls(body: str, types: Types) -> list[RawCall]:
    """`call:name{key:<|"|>text<|"|>,n:1}`."""
    match = _GEMMA_CALL.fullmatch(body)
    if match is None:
        return []
    parts = match[2].split('<|"|>')
    parts[::2] = [_GEMMA_KEY.sub(r'\1"\2":', part) for part in parts[::2]]
    parts[1::2] = [_dumps(part) for part in parts[1::2]]
    value = _loads("".join(parts))
    return [RawCall(match[1], _dumps(value))] if isinstance(value, dict) else []


def by_name_calls(body: str, types: Types) -> list[RawCall]:
    """`[{"name": {...}}]`."""
    value = _loads(body)
    items = [pair for item in value for pair in item.items()] if _all_mappings(value) else []
    return [RawCall(name, _dumps(args)) for name, args in items if isinstance(args, dict)]


def _all_mappings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def function_tag_calls(body: str, types: Types) -> list[RawCall]:
    """What stands between `<function=` and its end."""
    return functions_calls(f"<function={body}</function>", types)


def bare_calls(body: str, types: Types) -> list[RawCall]:
    """An answer that is a JSON object is a call if it says so in full."""
    value = _loads(body)
    full = isinstance(value, dict) and ("parameters" in value or "arguments" in value)
    return json_calls(body, types) if full else []


def named_tag_calls(body: str, types: Types) -> list[RawCall]:
    """What stands between `<function name="` and its end."""
    return invokes_calls(f'<function name="{body}</function>', types)


def dsml_calls(body: str, types: Types) -> list[RawCall]:
    """What stands between DeepSeek's invoke tag and its end."""
    return invokes_calls(f'<invoke name="{body}</invoke>', types)


def command_r_calls(body: str, types: Types) -> list[RawCall]:
    """As `json_calls`; to answer directly is no call."""
    return [call for call in json_calls(body, types) if call.name != "directly_answer"]
