# ruff: noqa: RUF001 (marks of families that are written with full-width characters)
"""What tool calls say: one function for each way in which model families write them.

Those that write a tag for each argument are in `tag_bodies`.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

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


def loads(text: str) -> Any:
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


_HALF = re.compile("[\ud800-\udfff]")


def dumps(value: Any) -> str:
    """A value as JSON text; halves of characters are escaped, as no file or socket takes them."""
    text = json.dumps(value, ensure_ascii=False)
    return json.dumps(value) if _HALF.search(text) else text


def json_calls(body: str, types: Types) -> list[RawCall]:
    """`{"name": ..., "arguments": {...}}`, or a list of such; under their other names too."""
    value = loads(body)
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
        arguments = loads(arguments)
    if not isinstance(name, str) or not isinstance(arguments, (dict, type(None))):
        return None
    return RawCall(name, dumps(arguments or {}), None if call_id is None else str(call_id))


_KIMI_NAME = re.compile(r"(?:functions\.)?(?P<name>.+?)(?::\d+)?$")


def named(body: str, mark: str) -> list[RawCall]:
    """`name<mark>{...}`."""
    name, found, arguments = body.partition(mark)
    value = loads(arguments) if found and name.strip() else None
    return [RawCall(name.strip(), dumps(value))] if isinstance(value, dict) else []


def line_calls(body: str, types: Types) -> list[RawCall]:
    """`name`, a line break and `{...}`."""
    return named(body, "\n")


def solar_calls(body: str, types: Types) -> list[RawCall]:
    """`id<|tool_call:name|>name<|tool_call:args|>{...}`."""
    call_id, _, rest = body.partition("<|tool_call:name|>")
    return [
        RawCall(call.name, call.arguments, call_id.strip() or None)
        for call in named(rest, "<|tool_call:args|>")
    ]


def deepseek_calls(body: str, types: Types) -> list[RawCall]:
    """`function<sep>name`, a line break and fenced JSON; or `name<sep>{...}`."""
    head, _, rest = body.partition("<｜tool▁sep｜>")
    if head.strip() == "function":
        return named(rest, "\n")
    return named(body, "<｜tool▁sep｜>")


def kimi_calls(body: str, types: Types) -> list[RawCall]:
    """`functions.name:0<mark>{...}`; what stands before the mark is the id."""
    calls = named(body, "<|tool_call_argument_begin|>")
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
    value = loads(arguments)
    if not name.strip() or not isinstance(value, dict):
        return []
    return [RawCall(name.strip(), dumps(value), call_id.strip() or None)]


_LONGEST_PYTHON = 20_000


def python_calls(body: str, types: Types) -> list[RawCall]:
    """`[name(key=value), ...]`, or a line for each; values being Python's constants, or JSON's."""
    if len(body) > _LONGEST_PYTHON:
        return []
    try:
        return [
            _python_call(item)
            for line in ast.parse(body.strip()).body
            if isinstance(line, ast.Expr)
            for item in (line.value.elts if isinstance(line.value, ast.List) else [line.value])
        ]
    except (SyntaxError, TypeError, ValueError, RecursionError, MemoryError):
        return []


def _python_call(node: ast.expr) -> RawCall:
    if not isinstance(node, ast.Call) or node.args:
        raise ValueError("no call by keywords")
    values = {
        str(item.arg): ast.literal_eval(_JsonNames().visit(item.value)) for item in node.keywords
    }
    return RawCall(ast.unparse(node.func), dumps(values))


class _JsonNames(ast.NodeTransformer):
    """JSON's names for constants to Python's."""

    _VALUES: ClassVar[dict[str, bool | None]] = {"true": True, "false": False, "null": None}

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.Constant(self._VALUES[node.id]) if node.id in self._VALUES else node


_GEMMA_CALL = re.compile(r"\s*call:([^\s{]+)(\{.*\})\s*", re.DOTALL)
_GEMMA_KEY = re.compile(r"([{,]\s*)([^\s{},:\[\]\"]+)\s*:")


def gemma_calls(body: str, types: Types) -> list[RawCall]:
    """`call:name{key:<|"|>text<|"|>,n:1}`, or with `<escape>` around texts."""
    match = _GEMMA_CALL.fullmatch(body.replace("<escape>", '<|"|>'))
    if match is None:
        return []
    parts = match[2].split('<|"|>')
    parts[::2] = [_GEMMA_KEY.sub(r'\1"\2":', part) for part in parts[::2]]
    parts[1::2] = [dumps(part) for part in parts[1::2]]
    value = loads("".join(parts))
    return [RawCall(match[1], dumps(value))] if isinstance(value, dict) else []


def by_name_calls(body: str, types: Types) -> list[RawCall]:
    """`[{"name": {...}}]`."""
    value = loads(body)
    items = [pair for item in value for pair in item.items()] if _all_mappings(value) else []
    return [RawCall(name, dumps(args)) for name, args in items if isinstance(args, dict)]


def _all_mappings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


_ARGUMENTS = {"parameters", "arguments"}


def bare_calls(body: str, types: Types) -> list[RawCall]:
    """An answer that is a JSON object, or a list of such, is a call if it says so in full."""
    value = loads(body)
    items = value if isinstance(value, list) else [value]
    full = all(isinstance(item, dict) and _ARGUMENTS & item.keys() for item in items)
    return json_calls(body, types) if full else []


def command_r_calls(body: str, types: Types) -> list[RawCall]:
    """As `json_calls`; to answer directly is no call."""
    return [call for call in json_calls(body, types) if call.name != "directly_answer"]
