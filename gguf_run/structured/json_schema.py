"""Reads JSON schemas, and finds the place of what is wrong in one."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from gguf_run.errors import ModelError
from gguf_run.structured.schema_limits import Schema, check_limits, children

MAX_LENGTH = 1 << 18

_FORMATS = frozenset(
    ("date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri")
)
"""Those that the engine knows. Others are remarks, as the standard has it."""

_MAX_CHECKS = 500
_MAX_PATH = 160


def read_schema(schema: Schema | str) -> Schema:
    """A schema as data or JSON text -> as data, checked for what the engine can't bound.

    Raises:
        ModelError: it is no JSON (with line and column), no object, too long, deep or involved.
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
    own: dict[str, Any] = json.loads(text)
    check_limits(own)
    _drop_unknown_formats(own)
    return own


def _drop_unknown_formats(schema: dict[str, Any]) -> None:
    pending: list[Any] = [schema]
    while pending:
        part = pending.pop()
        form = part.get("format")
        if isinstance(form, str) and form not in _FORMATS:
            del part["format"]
        pending += [child for _, child in children(part)]


def place_of(error: str, schema: Schema, check: Callable[[Schema], str]) -> str:
    """The JSON pointer of the smallest part that is wrong in the same way, `#...`.

    Args:
        error: what `check` said of the whole.
        check: says what is wrong with a schema; "" where nothing is.
    """
    shared = {key: schema[key] for key in ("$defs", "definitions") if key in schema}
    path, part, left = "#", schema, _MAX_CHECKS
    while True:
        for name, child in children(part):
            left -= 1
            if left >= 0 and check({**shared, **child}) == error:
                path, part = f"{path}/{name}", child
                break
        else:
            return path if len(path) <= _MAX_PATH else f"{path[:_MAX_PATH]}..."


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
