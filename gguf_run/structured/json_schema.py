"""Reads JSON schemas, and finds the place of what is wrong in one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

from gguf_run.errors import ModelError

Schema: TypeAlias = Mapping[str, Any]

MAX_LENGTH = 1 << 18

_BY_NAME = ("properties", "patternProperties", "$defs", "definitions")
_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_ONE = ("items", "additionalProperties", "additionalItems", "not", "if", "then", "else", "contains")
_MAX_CHECKS = 500


def read_schema(schema: Schema | str) -> Schema:
    """A schema as data or JSON text -> as data.

    Raises:
        ModelError: it is no JSON (with line and column), no object, too long or too deep.
    """
    data = _parsed(schema) if isinstance(schema, str) else schema
    if not isinstance(data, Mapping):
        raise ModelError(f"JSON schema: expected an object, found {data!r:.60}")
    try:
        text = json.dumps(data)
    except (TypeError, ValueError, RecursionError) as error:
        raise ModelError(f"JSON schema: expected what JSON can hold, found: {error}") from None
    if len(text) > MAX_LENGTH:
        raise ModelError(
            f"JSON schema: expected at most {MAX_LENGTH} characters, found {len(text)}; shorten it"
        )
    return data


def place_of(error: str, schema: Schema, check: Callable[[Schema], str]) -> str:
    """The JSON pointer of the smallest part that is wrong in the same way, `#...`.

    Args:
        error: what `check` said of the whole.
        check: says what is wrong with a schema; "" where nothing is.
    """
    shared = {key: schema[key] for key in ("$defs", "definitions") if key in schema}
    path, part, left = "#", schema, _MAX_CHECKS
    while True:
        for name, child in _children(part):
            left -= 1
            if left >= 0 and check({**shared, **child}) == error:
                path, part = f"{path}/{name}", child
                break
        else:
            return path


def _children(schema: Schema) -> Iterator[tuple[str, Schema]]:
    """The schemas within one, with the pointers to them."""
    children: list[tuple[str, object]] = [(key, schema.get(key)) for key in _ONE]
    for key in _BY_NAME:
        named = schema.get(key)
        if isinstance(named, Mapping):
            children += [(f"{key}/{_escaped(name)}", child) for name, child in named.items()]
    for key in _LISTS:
        listed = schema.get(key)
        if isinstance(listed, list):
            children += [(f"{key}/{i}", child) for i, child in enumerate(listed)]
    for path, child in children:
        if isinstance(child, Mapping):
            yield path, child


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ModelError(
            f"JSON schema, line {error.lineno}, column {error.colno}: expected JSON, found: "
            f"{error.msg}"
        ) from None
    except RecursionError:
        raise ModelError("JSON schema: expected less nesting, found hundreds of levels") from None
