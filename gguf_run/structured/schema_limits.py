"""What a JSON schema may cost: the engine bounds most of its work, but not all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeAlias

from gguf_run.errors import ModelError

Schema: TypeAlias = Mapping[str, Any]

MAX_LEVELS = 600
"""Schemas in one another, over all that are referred to: the engine descends with its stack."""

MAX_MERGED = 20_000
"""Schemas that `allOf` merges into one, 2 us each: references can double them at every step."""

MAX_MERGED_PATTERNS = 8
"""Patterns that one string must match: whether any does takes time that grows exponentially."""

MAX_MULTIPLE = 20_000
"""The engine has a state for each remainder, of all `multipleOf`s together and without their
decimal point; a million of them take it 2 s and 100 MB (llguidance 1.9.1, one core)."""

_BY_NAME = (
    "properties",
    "patternProperties",
    "$defs",
    "definitions",
    "dependentSchemas",
    "dependencies",
)
_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems", "items")
_ONE = (
    *("items", "additionalProperties", "additionalItems", "propertyNames", "contains"),
    *("unevaluatedProperties", "unevaluatedItems", "not", "if", "then", "else"),
)


@dataclass(frozen=True, slots=True)
class _Merged:
    """What is merged into one schema: schemas, patterns, the product of all `multipleOf`."""

    schemas: int = 0
    patterns: int = 0
    multiple: int = 1

    def __add__(self, other: _Merged) -> _Merged:
        multiple = min(self.multiple * other.multiple, MAX_MULTIPLE + 1)
        return _Merged(self.schemas + other.schemas, self.patterns + other.patterns, multiple)


def children(schema: Schema) -> Iterator[tuple[str, Schema]]:
    """The schemas within one, with the JSON pointers to them."""
    found: list[tuple[str, object]] = [(key, schema.get(key)) for key in _ONE]
    for key in _BY_NAME:
        named = schema.get(key)
        if isinstance(named, Mapping):
            found += [(f"{key}/{_escaped(name)}", child) for name, child in named.items()]
    for key in _LISTS:
        listed = schema.get(key)
        if isinstance(listed, list):
            found += [(f"{key}/{i}", child) for i, child in enumerate(listed)]
    for path, child in found:
        if isinstance(child, Mapping):
            yield path, child


def check_limits(schema: Schema) -> None:
    """Refuse a schema (of keys that are strings) that would take the engine too long or too deep.

    Raises:
        ModelError: with the limit.
    """
    targets = {"#": schema}
    heights: dict[int, int] = {}
    parts: list[Schema] = []
    pending = ["#"]
    levels = 0
    while pending and levels <= MAX_LEVELS:
        target = targets[pending.pop()]
        found = _measure(target, heights)
        parts += found
        levels += heights[id(target)]
        for reference in map(_reference, found):
            if reference is not None and reference not in targets:
                targets[reference] = _resolved(schema, reference)
                pending.append(reference)
    _check("levels of schemas within schemas", levels, MAX_LEVELS)
    known: dict[str, _Merged] = {}
    merged = [_merged(part, targets, known) for part in parts if part.keys() != {"$ref"}]
    _check("schemas merged by allOf", sum(each.schemas - 1 for each in merged), MAX_MERGED)
    for each in merged:
        _check("patterns of one string", each.patterns, MAX_MERGED_PATTERNS)
        _check("as the number that others are multiples of", each.multiple, MAX_MULTIPLE)


def _check(what: str, found: int, most: int) -> None:
    if found > most:
        raise ModelError(f"JSON schema: expected at most {most} {what}, found more; simplify it")


def _resolved(schema: Schema, reference: str) -> Schema:
    """The schema at a reference; an empty one where that leads nowhere, which the engine tells."""
    part: Any = schema
    for name in reference.removeprefix("#").split("/")[1:]:
        name = name.replace("~1", "/").replace("~0", "~")
        if isinstance(part, list) and name.isdecimal() and int(name) < len(part):
            part = part[int(name)]
        else:
            part = part.get(name) if isinstance(part, Mapping) else None
    return part if isinstance(part, Mapping) else {}


def _measure(schema: Schema, heights: dict[int, int]) -> list[Schema]:
    """Add the heights of a schema and of all within it that has none yet, and list these."""
    found: list[Schema] = []
    pending = [schema]
    while pending:
        part = pending.pop()
        if id(part) not in heights:
            heights[id(part)] = 1
            found.append(part)
            pending += [child for _, child in children(part)]
    for part in reversed(found):
        heights[id(part)] = 1 + max((heights[id(c)] for _, c in children(part)), default=0)
    return found


def _reference(schema: Schema) -> str | None:
    reference = schema.get("$ref")
    return reference if isinstance(reference, str) else None


def _merged(schema: Schema, targets: Mapping[str, Schema], known: dict[str, _Merged]) -> _Merged:
    """What is merged with a schema and by it. A circle counts once."""
    n_patterns = ("pattern" in schema) + ("format" in schema)
    result = _Merged(1, n_patterns, _digits(schema.get("multipleOf")))
    reference = _reference(schema)
    if reference is not None:
        if reference not in known:
            known[reference] = _Merged()
            known[reference] = _merged(targets[reference], targets, known)
        result += known[reference]
    together = schema.get("allOf")
    for child in together if isinstance(together, list) else ():
        if isinstance(child, Mapping):
            result += _merged(child, targets, known)
    return result


def _digits(number: object) -> int:
    """A positive number without its decimal point: 250 -> 250, 0.25 -> 25; 1 for all else."""
    if isinstance(number, bool) or not isinstance(number, (int, float)) or not 0 < number < 1e300:
        return 1
    exact = Decimal(repr(number)).normalize()
    return int(exact.scaleb(max(0, -int(exact.as_tuple().exponent))))


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
