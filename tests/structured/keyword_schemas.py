"""Random schemas of the keywords that are said by others, and values to try them with."""

from __future__ import annotations

import itertools
import random
from typing import Any

Schema = dict[str, Any]

NAMES = ("a", "b", "c")
_SCALARS = [0, 1, 2, -3, 2.5, "", "x", "y", "xy", True, False, None]
_LISTS = [list(each) for n in range(4) for each in itertools.product([0, 1, "x", True], repeat=n)]
_FIELDS = [0, 1, "x", None]
_OBJECTS = [
    {name: value for name, value in zip((*NAMES, "z"), values, strict=True) if value != "-"}
    for values in itertools.product(["-", *_FIELDS[:3]], repeat=4)
]
VALUES: list[Any] = [*_SCALARS, *_LISTS, *_OBJECTS]
"""Small values; the names of objects in the order of those of the schemas."""


def keyword_schema(seed: int) -> Schema:
    """The schema of a seed; perhaps one that nothing fulfils."""
    rng = random.Random(seed)
    return rng.choice((_object, _object, _object, _list, _any))(rng)


def _scalar(rng: random.Random) -> Schema:
    kinds: list[Schema] = [
        {"type": "integer"},
        {"type": "string"},
        {"type": ["integer", "null"]},
        {"const": rng.choice(["x", 0, 1, None])},
        {"enum": rng.sample([0, 1, "x", "y", None], rng.randrange(1, 4))},
        {"type": "number", "minimum": rng.randrange(-1, 2)},
        {"type": "string", "minLength": 1},
        {},
    ]
    return rng.choice(kinds)


def _condition(rng: random.Random) -> Schema:
    name = rng.choice(NAMES)
    kinds: list[Schema] = [
        {"required": rng.sample(NAMES, rng.randrange(1, 3))},
        {"properties": {name: _scalar_condition(rng)}},
        {"properties": {name: _scalar_condition(rng)}, "required": [name]},
        {"type": rng.choice(["object", "string", "number"])},
        _scalar_condition(rng),
    ]
    kind = rng.randrange(8)
    if kind == 0:
        return {"anyOf": [rng.choice(kinds), rng.choice(kinds)]}
    return {"not": rng.choice(kinds)} if kind == 1 else rng.choice(kinds)


def _scalar_condition(rng: random.Random) -> Schema:
    kinds: list[Schema] = [
        {"const": rng.choice(["x", "xy", 1, None])},
        {"enum": rng.sample([0, 1, "x", "", True], rng.randrange(1, 4))},
        {"type": rng.choice(["string", "number", "null"])},
        {"minimum": 1},
        {"maxLength": 1},
    ]
    return rng.choice(kinds)


def _object(rng: random.Random) -> Schema:
    names = [name for name in NAMES if rng.random() < 0.8]
    schema: Schema = {"type": "object", "properties": {name: _scalar(rng) for name in names}}
    schema["required"] = [name for name in names if rng.random() < 0.3]
    extra = rng.randrange(3)
    if extra:
        schema["additionalProperties"] = False if extra == 1 else _scalar(rng)
    kind = rng.randrange(9)
    if kind == 0:
        schema["minProperties"] = rng.randrange(3)
    elif kind == 1:
        schema |= {"minProperties": rng.randrange(2), "maxProperties": rng.randrange(1, 4)}
    elif kind == 2:
        schema["dependentRequired"] = {rng.choice(NAMES): [rng.choice(NAMES)]}
    elif kind == 3:
        schema["dependentSchemas"] = {rng.choice(NAMES): _condition(rng)}
    elif kind == 4:
        schema["propertyNames"] = {"enum": rng.sample([*NAMES, "z"], rng.randrange(1, 4))}
    elif kind == 5:
        schema |= {"if": _condition(rng), "then": _condition(rng), "else": _condition(rng)}
    elif kind == 6:
        schema |= {"if": _condition(rng), rng.choice(["then", "else"]): _condition(rng)}
    elif kind == 7:
        schema["not"] = _condition(rng)
    elif kind == 8:
        schema["unevaluatedProperties"] = rng.choice([False, True, _scalar(rng)])
    return schema


def _list(rng: random.Random) -> Schema:
    schema: Schema = {"type": "array", "items": {"enum": [0, 1, "x", True][: rng.randrange(2, 5)]}}
    if rng.random() < 0.5:
        least = rng.randrange(3)
        schema |= {"minItems": least, "maxItems": least + rng.randrange(4)}
    kind = rng.randrange(5)
    if kind == 0:
        schema["uniqueItems"] = rng.random() < 0.9
    elif kind in (1, 2):
        schema["contains"] = rng.choice([{"const": 1}, {"type": "string"}, {}, schema["items"]])
        schema.setdefault("maxItems", 3)
        if kind == 2:
            schema["minContains"] = rng.randrange(3)
    elif kind == 3:
        del schema["items"]
        schema |= {"prefixItems": [_scalar(rng)], "unevaluatedItems": rng.choice([False, {}])}
    return schema


def _any(rng: random.Random) -> Schema:
    kinds: list[Schema] = [
        {"not": _condition(rng)},
        {"not": {"anyOf": [_condition(rng), _scalar_condition(rng)]}},
        {"if": _condition(rng), "then": _scalar_condition(rng), "else": _condition(rng)},
        {"oneOf": [{"const": value, "title": "t"} for value in rng.sample([0, 1, "x", None], 2)]},
        {"enum": [0, 1, 2, "x", "y", "xy", None], "not": _scalar_condition(rng)},
    ]
    return rng.choice(kinds)


AB: Schema = {
    "type": "object",
    "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
    "additionalProperties": False,
}
KIND = {"properties": {"kind": {"const": "circle"}}, "required": ["kind"]}
SHAPE: Schema = {
    "type": "object",
    "properties": {
        "kind": {"enum": ["circle", "square"]},
        "radius": {"type": "number"},
        "side": {"type": "number"},
    },
    "required": ["kind"],
    "additionalProperties": False,
    "if": KIND,
    "then": {"required": ["radius"]},
    "else": {"required": ["side"], "properties": {"radius": False}},
}
KEYWORDS: list[tuple[Schema, list[str], list[str]]] = [
    ({**AB, "minProperties": 1}, ['{"a":1}', '{"b":1}', '{"a":1,"b":2}'], ["{}"]),
    ({**AB, "maxProperties": 1}, ["{}", '{"b":1}'], ['{"a":1,"b":2}']),
    ({**AB, "dependentRequired": {"a": ["b"]}}, ["{}", '{"b":1}', '{"a":1,"b":1}'], ['{"a":1}']),
    ({**AB, "dependencies": {"a": ["b"]}}, ["{}", '{"a":1,"b":1}'], ['{"a":1}']),
    (
        {**AB, "dependentSchemas": {"a": {"properties": {"b": {"minimum": 5}}}}},
        ['{"b":1}', '{"a":1,"b":5}', '{"a":1}'],
        ['{"a":1,"b":4}'],
    ),
    (
        SHAPE,
        ['{"kind":"circle","radius":1}', '{"kind":"square","side":2}'],
        [
            '{"kind":"circle"}',
            '{"kind":"square","radius":1,"side":2}',
            '{"kind":"circle","side":1}',
        ],
    ),
    ({"type": "string", "not": {"enum": ["ab", "ac"]}}, ['"a"', '"abc"', '"ad"'], ['"ab"', '"ac"']),
    ({"type": "number", "not": {"const": 1}}, ["2", "1.5", "0"], ["1", "1.0"]),
    ({"not": {"type": ["string", "null"]}}, ["1", "[]"], ['"a"', "null"]),
    ({**AB, "not": {"required": ["a", "b"]}}, ["{}", '{"a":1}'], ['{"a":1,"b":1}']),
    (
        {"type": "array", "items": {"enum": ["x", "y"]}, "uniqueItems": True},
        ["[]", '["y"]', '["y", "x"]'],
        ['["x","x"]'],
    ),
    ({"type": "array", "items": {"type": "integer"}, "uniqueItems": False}, ["[1,1]"], []),
    (
        {"type": "array", "items": {"type": "integer"}, "contains": {"const": 7}, "maxItems": 3},
        ["[7]", "[1,7]", "[1,2,7]"],
        ["[]", "[1,2,3]"],
    ),
    ({"type": "array", "contains": {}, "minContains": 2, "maxContains": 2}, ["[1,2]"], ["[1]"]),
    (
        {
            "type": "object",
            "propertyNames": {"pattern": "^x"},
            "additionalProperties": {"const": 1},
        },
        ["{}", '{"xy":1}'],
        ['{"y":1}', '{"x":2}'],
    ),
    ({"propertyNames": {"enum": ["p", "q"]}}, ['{"p":1}', "3"], ['{"r":1}']),
    ({"type": "object", "propertyNames": {"maxLength": 1}}, ['{"p":1}'], ['{"pp":1}']),
    ({**AB, "additionalProperties": True, "unevaluatedProperties": False}, ['{"z":1}'], []),
    (
        {"type": "object", "properties": {"a": {}}, "unevaluatedProperties": False},
        ["{}"],
        ['{"z":1}'],
    ),
    ({"prefixItems": [{"const": 1}], "unevaluatedItems": False}, ["[1]"], ["[1,2]"]),
    (
        {"oneOf": [{"const": "a", "title": "first"}, {"const": "b"}, {"enum": ["b", "c"]}]},
        ['"a"', '"c"'],
        ['"b"'],
    ),
]
"""A schema, texts that are valid, and texts that are not."""
