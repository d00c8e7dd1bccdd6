"""What a JSON schema forbids, as a schema: exact, or refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, TypeAlias

Schema: TypeAlias = Mapping[str, Any]

ANNOTATIONS = frozenset(
    (
        *("title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly"),
        *("$comment", "$schema", "$id", "$anchor", "$defs", "definitions", "format"),
        *("contentEncoding", "contentMediaType"),
    )
)
TYPES = ("null", "boolean", "number", "string", "array", "object")
_MAX_DEPTH = 20
_MAX_LETTERS = 2000


class InexactError(Exception):
    """A schema that has no exact form here; the message says what is in the way."""


def negated(schema: object, depth: int = 0) -> Any:
    """The schema of all values that are not valid by this one.

    Raises:
        InexactError: it has a keyword whose opposite no schema says.
    """
    if isinstance(schema, bool):
        return not schema
    if not isinstance(schema, Mapping) or depth > _MAX_DEPTH:
        raise InexactError("a not of less than a schema, or of a deep one")
    keys = [key for key in schema if key not in ANNOTATIONS]
    unknown = [key for key in keys if key not in _NEGATIONS]
    if unknown:
        raise InexactError(f"the opposite (not, if) of {unknown[0]}")
    return any_of([_NEGATIONS[key](schema[key], depth + 1) for key in keys])


def any_of(options: Sequence[Any]) -> Any:
    """A schema for what one of some allows."""
    options = [option for option in options if option is not False]
    if any(option is True or option == {} for option in options):
        return True
    return {"anyOf": options} if len(options) > 1 else options[0] if options else False


def all_of(parts: Sequence[Any]) -> Any:
    """A schema for what all of some allow."""
    if any(part is False for part in parts):
        return False
    parts = [part for part in parts if part is not True and part != {}]
    return {"allOf": parts} if len(parts) > 1 else parts[0] if parts else True


def _type(kinds: Any, depth: int) -> Any:
    kinds = {kinds} if isinstance(kinds, str) else set(kinds)
    if "integer" in kinds and "number" not in kinds:
        raise InexactError("the opposite (not, if) of the type integer")
    rest = [kind for kind in TYPES if kind not in kinds]
    return {"type": rest} if rest else False


def _enum(values: Any, depth: int) -> Any:
    """All other values: by type, as strings and numbers have gaps, and lists no opposite."""
    if any(isinstance(value, (list, dict)) for value in values):
        raise InexactError("the opposite (not, if) of a list or object")
    texts = [value for value in values if isinstance(value, str)]
    numbers = [v for v in values if isinstance(v, (int, float)) and not isinstance(v, bool)]
    flags = [flag for flag in (False, True) if not any(value is flag for value in values)]
    kinds = ["array", "object", *([] if any(v is None for v in values) else ["null"])]
    return any_of(
        [
            {"type": kinds},
            {"enum": flags} if flags else False,
            {"type": "string", "pattern": f"^{_other_text(texts)}$"}
            if texts
            else {"type": "string"},
            _other_number(numbers),
        ]
    )


def _other_number(numbers: Sequence[float]) -> Any:
    bounds = sorted(set(numbers))
    if not bounds:
        return {"type": "number"}
    gaps = [{"type": "number", "exclusiveMaximum": bounds[0]}]
    gaps += [
        {"type": "number", "exclusiveMinimum": low, "exclusiveMaximum": high}
        for low, high in pairwise(bounds)
    ]
    return any_of([*gaps, {"type": "number", "exclusiveMinimum": bounds[-1]}])


def _other_text(texts: Sequence[str]) -> str:
    """A pattern of all texts but these: along their letters, until one differs."""
    if sum(map(len, texts)) > _MAX_LETTERS or max(map(len, texts)) > _MAX_LETTERS // 10:
        raise InexactError("the opposite (not, if) of long texts")
    heads = sorted({text[0] for text in texts if text})
    options = [] if "" in texts else [""]
    any_other = "[\\s\\S]" if not heads else f"[^{''.join(map(_in_class, heads))}]"
    options.append(f"{any_other}[\\s\\S]*")
    options += [
        f"{re.escape(head)}{_other_text([text[1:] for text in texts if text[:1] == head])}"
        for head in heads
    ]
    return f"(?:{'|'.join(options)})"


def _in_class(char: str) -> str:
    return f"\\{char}" if char in "\\]^-[&~" else char


def _required(names: Any, depth: int) -> Any:
    return any_of([{"type": "object", "properties": {name: False}} for name in names])


def _properties(fields: Any, depth: int) -> Any:
    found = [(name, negated(field, depth)) for name, field in fields.items()]
    return any_of(
        [
            {"type": "object", "properties": {name: other}, "required": [name]}
            for name, other in found
            if other is not False
        ]
    )


def _bound(kind: str, key: str, step: int = 0) -> Callable[[Any, int], Any]:
    def opposite(value: Any, depth: int) -> Any:
        return {"type": kind, key: value + step} if value + step >= 0 or not step else False

    return opposite


_NEGATIONS: Mapping[str, Callable[[Any, int], Any]] = {
    "type": _type,
    "enum": _enum,
    "const": lambda value, depth: _enum([value], depth),
    "required": _required,
    "properties": _properties,
    "not": lambda schema, depth: schema,
    "allOf": lambda parts, depth: any_of([negated(part, depth) for part in parts]),
    "anyOf": lambda parts, depth: all_of([negated(part, depth) for part in parts]),
    "minimum": _bound("number", "exclusiveMaximum"),
    "maximum": _bound("number", "exclusiveMinimum"),
    "exclusiveMinimum": _bound("number", "maximum"),
    "exclusiveMaximum": _bound("number", "minimum"),
    "minLength": _bound("string", "maxLength", -1),
    "maxLength": _bound("string", "minLength", 1),
    "minItems": _bound("array", "maxItems", -1),
    "maxItems": _bound("array", "minItems", 1),
}
