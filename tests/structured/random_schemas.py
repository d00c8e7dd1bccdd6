"""Random JSON schemas that some text fulfils, of the kinds that people write."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from typing import Any

from jsonschema import Draft202012Validator

from gguf_run import Model
from gguf_run.generation import Chunk

Schema = dict[str, Any]

WORDS = ("name", "age", "kind", "items", "id", "note", "x-y", "größe", "a b", "tags")
PATTERNS = ("^[A-Z]{2,4}$", "^[a-z]+(-[a-z]+)*$", r"^\d{3}-\d{2}$", "cat|dog", "^(yes|no)$")
FORMATS = ("date", "time", "date-time", "uuid", "ipv4", "email")
MAX_DEPTH = 3


def random_schema(seed: int) -> Schema:
    """The schema of a seed; the same on every machine."""
    rng = random.Random(seed)
    schema = _schema(rng, 0)
    if "$ref" in json.dumps(schema):
        schema = {**schema, "$defs": {"thing": _object(rng, MAX_DEPTH - 1, "thing")}}
    return schema


def _schema(rng: random.Random, depth: int) -> Schema:
    simple = (_string, _integer, _number, _enum, _const, _boolean, _null)
    nested = (_array, _array, _object, _object, _object, _any_of, _ref)
    kinds = nested if depth == 0 else simple if depth >= MAX_DEPTH else (*simple, *nested)
    return rng.choice(kinds)(rng, depth)


def _string(rng: random.Random, depth: int) -> Schema:
    schema: Schema = {"type": "string"}
    kind = rng.randrange(5)
    if kind == 1:
        schema |= {"minLength": rng.randrange(3), "maxLength": rng.randrange(3, 30)}
    elif kind == 2:
        schema["pattern"] = rng.choice(PATTERNS)
    elif kind == 3:
        schema["format"] = rng.choice(FORMATS)
    return schema


def _integer(rng: random.Random, depth: int) -> Schema:
    schema: Schema = {"type": "integer"}
    low = rng.randrange(-100, 1000)
    kind = rng.randrange(4)
    if kind == 1:
        schema |= {"minimum": low, "maximum": low + rng.randrange(1, 500)}
    elif kind == 2:
        schema |= {"exclusiveMinimum": low, "exclusiveMaximum": low + rng.randrange(2, 500)}
    elif kind == 3:
        schema["multipleOf"] = rng.randrange(2, 13)
    return schema


def _number(rng: random.Random, depth: int) -> Schema:
    low = rng.randrange(-50, 50) / 4
    bounds = {"minimum": low, "maximum": low + rng.randrange(1, 100) / 8}
    return {"type": "number", **(bounds if rng.random() < 0.5 else {})}


def _enum(rng: random.Random, depth: int) -> Schema:
    values = ["red", "green", "ein Wort", 'a "quote"', 7, 2.5, True, None, [1, "x"], {"k": 1}]
    return {"enum": rng.sample(values, rng.randrange(1, 5))}


def _const(rng: random.Random, depth: int) -> Schema:
    return {"const": rng.choice(["fixed", 42, False, None, [1, [2]], {"a": {"b": "c"}}])}


def _boolean(rng: random.Random, depth: int) -> Schema:
    return {"type": rng.choice(["boolean", ["boolean", "null"]])}


def _null(rng: random.Random, depth: int) -> Schema:
    return {"type": "null"}


def _array(rng: random.Random, depth: int) -> Schema:
    schema: Schema = {"type": "array", "items": _schema(rng, depth + 1)}
    least = rng.randrange(3)
    schema |= {"minItems": least, "maxItems": least + rng.randrange(4)}
    if rng.random() < 0.2:
        schema["prefixItems"] = [_schema(rng, depth + 1) for _ in range(rng.randrange(1, 3))]
    return schema


def _object(rng: random.Random, depth: int, name: str = "") -> Schema:
    names = rng.sample(WORDS, rng.randrange(1, 5))
    properties = {each: _schema(rng, depth + 1) for each in names}
    schema: Schema = {"type": "object", "properties": properties}
    schema["required"] = [each for each in names if rng.random() < 0.6]
    if name and rng.random() < 0.5:
        properties["inner"] = {"$ref": f"#/$defs/{name}"}
    extra = rng.randrange(3)
    if extra:
        schema["additionalProperties"] = False if extra == 1 else _schema(rng, depth + 1)
    return schema


def _any_of(rng: random.Random, depth: int) -> Schema:
    return {"anyOf": [_schema(rng, depth + 1) for _ in range(rng.randrange(2, 4))]}


def _ref(rng: random.Random, depth: int) -> Schema:
    return {"$ref": "#/$defs/thing"}


def run(model: Model, seed: int, prompt: str, max_tokens: int) -> tuple[Schema, str, bool, int]:
    """Write by the schema of a seed -> schema, text, whether it came to its end, its tokens."""
    schema = random_schema(seed)
    options: dict[str, Any] = {"temperature": 0.0} if seed % 10 == 0 else {"seed": seed}
    chunks: list[Chunk] = list(model.generate(prompt, max_tokens, json_schema=schema, **options))
    text = "".join(chunk.text for chunk in chunks)
    return schema, text, chunks[-1].finish_reason == "stop", len(chunks)


def errors(schema: Schema, text: str) -> Iterable[str]:
    """What is wrong with a text that should be JSON of a schema."""
    try:
        value = json.loads(text)
    except ValueError as error:
        return [f"no JSON: {error}"]
    return [error.message for error in Draft202012Validator(schema).iter_errors(value)]
