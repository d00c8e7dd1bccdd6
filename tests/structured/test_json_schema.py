"""JSON schemas: what they let through, and what is said of wrong ones."""

from __future__ import annotations

import json
from typing import Any

import pytest
from grammars import Accepts
from keyword_schemas import KEYWORDS

from gguf_run import ModelError
from gguf_run.structured.factory import ConstraintFactory

Schema = dict[str, Any]

PERSON: Schema = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name"],
    "additionalProperties": False,
}
TREE: Schema = {
    "$defs": {
        "node": {
            "type": "object",
            "properties": {
                "value": {"type": "number"},
                "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
            },
            "required": ["value", "children"],
            "additionalProperties": False,
        }
    },
    "$ref": "#/$defs/node",
}

SCHEMAS: list[tuple[Schema, list[str], list[str]]] = [
    ({"type": "string"}, ['""', r'"a\n\""', '"é"'], ["1", '"a', '"\n"']),
    ({"type": "integer"}, ["0", "-12"], ["1.5", "01", '"1"']),
    ({"type": "number"}, ["0", "-1.5e3"], [".5", "1."]),
    ({"type": "boolean"}, ["true", "false"], ["True", "null"]),
    ({"type": "null"}, ["null"], ["0"]),
    ({"type": ["string", "null"]}, ["null", '"x"'], ["1"]),
    ({"enum": ["red", 1, None]}, ['"red"', "1", "null"], ['"blue"', "2"]),
    ({"const": {"a": [1, True]}}, ['{"a":[1,true]}', '{"a": [1, true]}'], ['{"a":[1]}']),
    ({"type": "string", "pattern": "^[A-Z]{3}-[0-9]+$"}, ['"ABC-1"'], ['"AB-1"', '"ABC-1x"']),
    ({"type": "string", "pattern": "b"}, ['"abc"'], ['"ac"']),
    ({"type": "string", "minLength": 2, "maxLength": 3}, ['"ab"', '"abc"'], ['"a"', '"abcd"']),
    ({"type": "string", "format": "date"}, ['"2024-02-29"'], ['"2024-13-01"']),
    ({"type": "string", "format": "no-such-format"}, ['"x"'], ["1"]),
    ({"type": "integer", "minimum": 3, "exclusiveMaximum": 12}, ["3", "11"], ["2", "12"]),
    ({"type": "integer", "multipleOf": 5}, ["10", "0"], ["7"]),
    (
        {"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 2},
        ["[1]", "[1, 2]"],
        ["[]", "[1,2,3]", '["a"]'],
    ),
    (
        {"type": "array", "prefixItems": [{"type": "null"}], "items": {"type": "boolean"}},
        ["[null]", "[null,true]"],
        ["[true]"],
    ),
    (
        PERSON,
        ['{"name":"Ada"}', '{ "name": "Ada", "age": 36 }'],
        ['{"age":36}', '{"name":"Ada","x":1}', "{}"],
    ),
    (
        {"type": "object", "additionalProperties": {"type": "integer"}},
        ["{}", '{"a":1,"b":2}'],
        ['{"a":"x"}'],
    ),
    (
        {"type": "object", "patternProperties": {"^n": {"type": "null"}}},
        ['{"n1":null,"z":3}'],
        ['{"n1":1}'],
    ),
    (TREE, ['{"value":1,"children":[{"value":2.5,"children":[]}]}'], ['{"value":1}']),
    ({"anyOf": [{"type": "null"}, PERSON]}, ["null", '{"name":""}'], ["1"]),
    (
        {"allOf": [PERSON, {"required": ["age"]}]},
        ['{"name":"a","age":1}'],
        ['{"name":"a"}'],
    ),
    ({"oneOf": [{"type": "string"}, {"type": "null"}]}, ['"a"', "null"], ["1"]),
    (
        {"properties": {"a": {"$ref": "#/properties/b"}, "b": {"const": 1}}},
        ['{"a":1}'],
        ['{"a":2}'],
    ),
    ({}, ["1", '[{"a":[null]}]'], ["nul", "[1"]),
]


@pytest.mark.parametrize(
    ("schema", "valid", "invalid"), SCHEMAS + KEYWORDS, ids=lambda v: str(v)[:40]
)
def test_valid_json_may_be_written_and_no_other(
    factory: ConstraintFactory,
    accepts: Accepts,
    schema: Schema,
    valid: list[str],
    invalid: list[str],
) -> None:
    for text in valid:
        assert accepts(factory.from_json_schema(schema), text), text
    for text in invalid:
        assert not accepts(factory.from_json_schema(json.dumps(schema)), text), text


def test_whitespace_comes_to_an_end(factory: ConstraintFactory, accepts: Accepts) -> None:
    schema = {"type": "array"}
    assert accepts(factory.from_json_schema(schema), "[\n\n" + " " * 20 + "1 ]")
    assert not accepts(factory.from_json_schema(schema), "[\n\n" + " " * 21 + "1]")


WRONG: list[tuple[Schema | str, str, str]] = [
    ('{"type":', ", line 1, column 9", "expected JSON"),
    ('{"type":\n "string",}', ", line 2, column 11", "expected JSON"),
    ("[1]", "", "expected an object"),
    ("[" * 100_000, "", "less nesting"),
    ({"type": "strin"}, ", at #", "strin"),
    ({"properties": {"a/b": {"items": {"pattern": "("}}}}, ", at #/properties/a~1b/items", "group"),
    ({"$defs": {"x": {"minItems": "z"}}, "$ref": "#/$defs/x"}, ", at #/$defs/x", "minItems"),
    ({"anyOf": [{}, {"not": {"pattern": "a"}}]}, ", at #/anyOf/1", r"the opposite .* of pattern"),
    ({"$ref": "#/nowhere"}, ", at #", "nowhere"),
    ({"allOf": [{"type": "string"}, {"type": "null"}]}, ", at #", "Unsatisfiable"),
    ({"type": "string", "minLength": 3, "maxLength": 2}, ", at #", "Unsatisfiable"),
    ({"oneOf": [{"minimum": 1}, {"maximum": 2}]}, ", at #", "exclude each other"),
]


@pytest.mark.parametrize(("schema", "place", "found"), WRONG, ids=lambda v: str(v)[:40])
def test_a_wrong_schema_is_refused_with_its_place(
    factory: ConstraintFactory, schema: Schema | str, place: str, found: str
) -> None:
    with pytest.raises(ModelError, match=found) as caught:
        factory.from_json_schema(schema)
    assert str(caught.value).startswith(f"JSON schema{place}: expected ")


def test_data_that_json_cannot_hold_is_refused(factory: ConstraintFactory) -> None:
    circle: Schema = {}
    circle["items"] = circle
    for schema in ({"const": {1, 2}}, circle):
        with pytest.raises(ModelError, match="what JSON can hold"):
            factory.from_json_schema(schema)
