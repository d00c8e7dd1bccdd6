"""Keywords that the engine has no notion of: said by others, exactly, or refused by name."""

from __future__ import annotations

import itertools
import json
import random
import time
from typing import Any

import pytest
from grammars import DEMO_MODEL, Accepts
from jsonschema import Draft202012Validator
from keyword_schemas import AB, VALUES, keyword_schema
from walks import Walker

from gguf_run import Model, ModelError
from gguf_run.structured.factory import ConstraintFactory
from gguf_run.tokenizer import Tokenizer

Schema = dict[str, Any]
N_SCHEMAS = 25


def may_be_written(
    factory: ConstraintFactory, accepts: Accepts, schema: Schema, value: Any, valid: bool
) -> bool:
    """Whether a value may; a valid one with its properties in some order."""
    texts = [json.dumps(value)]
    if valid and isinstance(value, dict):
        texts += [json.dumps(dict(items)) for items in itertools.permutations(value.items())]
    return any(accepts(factory.from_json_schema(schema), text) for text in texts)


@pytest.mark.parametrize("seed", range(N_SCHEMAS))
def test_the_same_values_are_valid(
    factory: ConstraintFactory, accepts: Accepts, tokenizer: Tokenizer, seed: int
) -> None:
    schema = keyword_schema(seed)
    validator = Draft202012Validator(schema)
    values = random.Random(seed).sample(VALUES, 12)
    wrong = ""
    try:
        constraint = factory.from_json_schema(schema)
    except ModelError as refused:
        wrong = str(refused)
    if wrong:
        assert "nsatisf" not in wrong or not any(map(validator.is_valid, values))
        return
    for value in values:
        valid = validator.is_valid(value)
        assert may_be_written(factory, accepts, schema, value, valid) == valid, value
    text = Walker(tokenizer).text(constraint, seed, limit=100)
    assert text is None or validator.is_valid(json.loads(text)), text


INEXACT: list[tuple[Schema, str]] = [
    ({"type": "array", "items": {"type": "string"}, "uniqueItems": True}, "uniqueItems"),
    ({"type": "array", "items": {"enum": [*range(30)]}, "uniqueItems": True}, "uniqueItems"),
    ({"type": "array", "contains": {"const": 1}}, "contains"),
    ({"type": "object", "minProperties": 2}, "minProperties"),
    ({"not": {"pattern": "a"}}, "pattern"),
    ({"not": {"type": "integer"}}, "type integer"),
    ({"not": {"const": []}}, "list or object"),
    ({**AB, "propertyNames": {"pattern": "a"}}, "propertyNames"),
    ({"allOf": [AB], "unevaluatedProperties": False}, "unevaluatedProperties"),
    ({"$dynamicRef": "#"}, "dynamicRef"),
    ({"minProperties": "x"}, "a minProperties of another kind"),
    ({"if": {"required": 3}, "then": False}, "a if of another kind"),
    ({"allOf": 5, "not": {"const": 1}}, "an allOf of another kind"),
]


@pytest.mark.parametrize(("schema", "found"), INEXACT, ids=lambda v: str(v)[:40])
def test_what_cannot_be_said_exactly_is_refused_by_its_name(
    factory: ConstraintFactory, schema: Schema, found: str
) -> None:
    with pytest.raises(ModelError, match=rf"at #/items: expected .* found: .*{found}"):
        factory.from_json_schema({"type": "array", "items": schema})


def _nested(n: int, key: str, **more: Any) -> Schema:
    schema: Schema = {"const": 1}
    for i in range(n):
        schema = {key: {"anyOf": [schema, {"const": i}]}, **more}
    return schema


HOSTILE: list[Schema] = [
    _nested(60, "not"),
    _nested(60, "if", then={"const": 1}),
    {"dependentRequired": {f"k{i}": [f"k{i + 1}"] for i in range(300)}},
    {**AB, "properties": {f"k{i}": {} for i in range(300)}, "minProperties": 150},
    {"allOf": [{"if": {"required": [f"k{i}"]}, "then": {"required": ["z"]}} for i in range(200)]},
    {"type": "string", "not": {"enum": [f"word {i} " + "x" * 90 for i in range(500)]}},
    {"items": {"enum": [*range(30_000)]}, "uniqueItems": True, "type": "array"},
]


@pytest.mark.parametrize("schema", HOSTILE, ids=lambda v: str(v)[:40])
def test_what_would_need_too_many_cases_is_refused_soon(
    factory: ConstraintFactory, schema: Schema
) -> None:
    begin = time.process_time()
    with pytest.raises(ModelError, match="JSON schema"):
        factory.from_json_schema(schema)
    assert time.process_time() - begin < 5


@pytest.mark.slow
def test_texts_of_these_keywords_are_valid() -> None:
    with Model(DEMO_MODEL, device="cpu", n_ctx=256) as model:
        n_ended = 0
        for seed in range(200):
            schema = keyword_schema(seed)
            try:
                chunks = list(model.generate("Once", 60, json_schema=schema, seed=seed))
            except ModelError:
                continue
            if chunks[-1].finish_reason == "stop":
                n_ended += 1
                value = json.loads("".join(chunk.text for chunk in chunks))
                assert Draft202012Validator(schema).is_valid(value), (seed, schema, value)
        assert n_ended > 50
