"""Tool calls in the engine's notation: as the model's family spells them, by the tools' schemas."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gguf_run.chat.tool_syntax import ToolSyntax
from gguf_run.chat.written import parts_of
from gguf_run.errors import ModelError
from gguf_run.structured.schema_limits import Schema
from gguf_run.structured.spelling import Spelling, literal

_NAME = re.compile(r"[\w.:/-]+")
_TAG = re.compile(r"<[^<>{}\n]+[>=]?")
_IN_TAGS = frozenset(
    ("type", "properties", "required", "additionalProperties", "$defs", "definitions")
)
_NOT_BINDING = frozenset(
    ("title", "description", "$schema", "$id", "$comment", "examples", "default")
)
_TEXT = frozenset(("type", "enum", "const", "minLength", "maxLength"))
_BOUND = frozenset(
    (
        "enum",
        "const",
        "pattern",
        "format",
        "minLength",
        "maxLength",
        "allOf",
        "anyOf",
        "oneOf",
        "not",
        "$ref",
    )
)
_IN_QUOTES = r"""/'([^'\\\n]|\\['\\nt])*'/"""
"""A text as Python has it as well; only where nothing binds it."""
_FREE = {"space": r"/\n?[ ]{0,4}/", "index": "/[0-9]{1,3}/", "id": "/[0-9A-Za-z]{9}/"}


class CallWriter:
    """Writes the rules for calls of some tools.

    Args:
        spelling: where they go.
        syntax: the family's.
        read: checks a schema of a tool, and gives it as the engine may have it.
    """

    def __init__(
        self, spelling: Spelling, syntax: ToolSyntax, read: Callable[[Schema], Schema]
    ) -> None:
        if syntax.written is None:
            raise ModelError(
                "tool_choice: expected a model whose tool calls can be bound to a grammar, found "
                f"one that writes {syntax.open!r}; leave the choice to the model"
            )
        self._spelling = spelling
        self._written = syntax.written
        self._read = read
        texts = [self._written.call, self._written.argument, *self._written.around, syntax.close]
        self._tags = sorted({tag for text in texts for tag in _TAG.findall(text)} - {"</"})

    def calls(self, tools: Sequence[Mapping[str, Any]], several: bool, given: str = "") -> str:
        """One call or several; `given` of the first mark has come already."""
        written = self._written
        before, after = written.around
        first = self._choice(tools, before, given)
        again = ""
        if several and written.between is not None:
            again = f"({self._choice(tools, written.between)})*"
        end = [_FREE[p] if i % 2 else self._spelling.mark(p) for i, p in enumerate(parts_of(after))]
        return f"{first} {again} {' '.join(end)}"

    def _choice(self, tools: Sequence[Mapping[str, Any]], before: str, given: str = "") -> str:
        calls = [self._call(tool, before, given) for tool in tools]
        return self._spelling.rule(" | ".join(calls))

    def _call(self, tool: Mapping[str, Any], before: str, given: str) -> str:
        name, schema = function_of(tool)
        try:
            parts = parts_of((before + self._written.call).removeprefix(given))
            return " ".join(self._part(i, part, name, schema) for i, part in enumerate(parts))
        except ModelError as error:
            raise ModelError(f"tools: {name}: {error}") from None

    def _part(self, i: int, part: str, name: str, schema: Schema) -> str:
        if i % 2 == 0:
            return self._spelling.mark(part)
        if part == "arguments":
            return self._arguments(schema)
        return literal(name) if part == "name" else _FREE[part]

    def _arguments(self, schema: Schema) -> str:
        if not self._written.argument:
            return self._spelling.json(self._read({"type": "object", **schema}))
        _check_in_tags(schema)
        required = schema.get("required", [])
        shared = {key: schema[key] for key in ("$defs", "definitions") if key in schema}
        properties = schema.get("properties", {})
        arguments = [
            (self._argument(key, {**shared, **field}), key in required)
            for key, field in properties.items()
        ]
        return self._in_order(arguments)

    def _in_order(self, arguments: Sequence[tuple[str, bool]]) -> str:
        """Arguments in their order; those that are not required may be left out."""
        joint = literal(self._written.joint)
        # What may stand from an argument on: where none has come before it, and where one has.
        first = later = '""'
        for argument, required in reversed(arguments):
            begun, going_on = f"{argument} {later}", f"{joint} {argument} {later}"
            first = self._spelling.rule(begun if required else f"{begun} | {first}")
            later = self._spelling.rule(going_on if required else f"{going_on} | {later}")
        return first

    def _argument(self, key: str, field: Schema) -> str:
        _check_name(key, "parameter")
        is_text = field.get("type") == "string" and not self._written.quoted
        before, _, behind = self._written.argument.replace("{key}", key).partition("{value}")
        before = before.replace("{is_text}", "true" if is_text else "false")
        if is_text:
            value = self._raw(key, field, behind)
        else:
            json = self._spelling.json(self._read(field))
            if self._written.quoted and field.get("type") == "string" and not field.keys() & _BOUND:
                json = f"({json} | {_IN_QUOTES})"
            value = f"{json} {self._spelling.mark(behind)}"
        return self._spelling.rule(f"{self._spelling.mark(before)} {value}")

    def _raw(self, key: str, field: Schema, behind: str) -> str:
        """A string as it stands, and what follows it."""
        unknown = field.keys() - _TEXT - _NOT_BINDING - {"$defs", "definitions"}
        if unknown:
            raise ModelError(
                f"{key}: expected a string that this model can write without quotes, found "
                f"{', '.join(sorted(unknown))}; leave it out, or leave the choice to the model"
            )
        values = [field["const"]] if "const" in field else field.get("enum")
        if values is None:
            least, most = field.get("minLength", 0), field.get("maxLength", "")
            body = f"(?s:.{{{least},{most}}})" if least or most != "" else "(?s:.*)"
            return self._spelling.until(behind, self._tags, body)
        least, most = field.get("minLength", 0), field.get("maxLength", float("inf"))
        texts = [
            value
            for value in values
            if isinstance(value, str)
            and least <= len(value) <= most
            and not any(tag in value for tag in self._tags)
        ]
        if not texts:
            raise ModelError(f"{key}: expected a text that may be written, found {values!r:.60}")
        return f"({' | '.join(map(literal, texts))}) {self._spelling.mark(behind)}"


def function_of(tool: Mapping[str, Any]) -> tuple[str, Schema]:
    """A tool's name and the schema of its arguments.

    Raises `ModelError` where it has no such.
    """
    function = tool.get("function", tool)
    name = function.get("name") if isinstance(function, Mapping) else None
    if not isinstance(name, str):
        raise ModelError(f"tools: expected a function with a name, found {tool!r:.100}")
    _check_name(name, "function")
    schema = function.get("parameters")
    if schema is None:
        schema = {"properties": {}, "additionalProperties": False}
    if not isinstance(schema, Mapping):
        raise ModelError(f"tools: {name}: expected parameters as a schema, found {schema!r:.100}")
    return name, schema


def _check_name(name: str, what: str) -> None:
    if not _NAME.fullmatch(name):
        raise ModelError(
            f"tools: expected a {what} with a name of letters, digits, _ . : / and -, found "
            f"{name!r:.60}"
        )


def _check_in_tags(schema: Schema) -> None:
    """Refuse what can't be held where each argument is written for itself."""
    unknown = schema.keys() - _IN_TAGS - _NOT_BINDING
    properties = schema.get("properties", {})
    if unknown:
        raise ModelError(
            "expected parameters that this model can write one by one, found "
            f"{', '.join(sorted(unknown))}; leave it out, or leave the choice to the model"
        )
    missing = [key for key in schema.get("required", []) if key not in properties]
    if missing or not all(isinstance(field, Mapping) for field in properties.values()):
        raise ModelError(
            f"expected a schema for each required parameter, found none for {missing or 'some'}"
        )
