"""Structured output: does every text validate, and what does a mask cost?

    python benchmarks/structured_output.py texts [--first 0] [--count 10000] [--keywords]
    python benchmarks/structured_output.py masks FILE [FILE ...]

`texts` writes by random JSON schemas (tests/structured/random_schemas.py) and validates what came
to its end with jsonschema; `--keywords` by those of keyword_schemas.py, without the ones that are
refused. `masks` times `Constraint.mask` along fixed texts, with the vocabulary of each GGUF file
(files without tensors will do). Set OMP_NUM_THREADS=1 for steady figures.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from time import perf_counter, thread_time
from typing import Any

import numpy as np
import numpy.typing as npt

from gguf_run import Model, ModelError
from gguf_run.kv_cache import Sequence
from gguf_run.sampling import SamplerChain, SamplingParams
from gguf_run.structured import Constraint, Drawer
from gguf_run.structured.factory import ConstraintFactory
from gguf_run.tokenizer import Tokenizer

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "structured"))

# The folder is on the path only now.
from keyword_schemas import keyword_schema  # noqa: E402
from random_schemas import errors, random_schema  # noqa: E402

PROMPT = "Once upon a time"
MAX_TOKENS = 150
TOGETHER = 16


def _object(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


TEXT = {"type": "string"}
NODE = _object(value={"type": "number"}, label=TEXT, children={"items": {"$ref": "#/$defs/node"}})
SCHEMAS: dict[str, tuple[dict[str, Any], Any]] = {
    "person": (
        _object(name=TEXT, age={"type": "integer"}, email=TEXT, tags={"items": TEXT}),
        {"name": "Ada Lovelace", "age": 36, "email": "ada@example.org", "tags": ["poetry", "sums"]},
    ),
    "enums": (
        _object(color={"enum": ["red", "green", "blue"]}, size={"enum": ["small", "large"]}),
        {"color": "red", "size": "large"},
    ),
    "recursive": (
        {"$defs": {"node": NODE}, "$ref": "#/$defs/node"},
        {"value": 1.5, "label": "the root of it all", "children": []},
    ),
    "tool call": (
        {
            "anyOf": [
                _object(name={"const": "get_weather"}, arguments=_object(city=TEXT)),
                _object(name={"const": "search"}, arguments=_object(query=TEXT)),
            ]
        },
        {"name": "search", "arguments": {"query": "how long do sea turtles live in the wild"}},
    ),
    "patterns": (
        _object(
            id={"type": "string", "pattern": "^[A-Z]{3}-[0-9]{4}$"},
            date={"type": "string", "format": "date"},
        ),
        {"id": "ABC-1234", "date": "2024-05-17"},
    ),
    "any JSON": ({}, {"title": "A day", "n": 12, "parts": [1, {"a": None}], "ok": False}),
}


@dataclass(slots=True)
class Writing:
    """One text that is being written by a random schema."""

    schema: dict[str, Any]
    drawer: Drawer
    sequence: Sequence
    tokens: list[int] = field(default_factory=list)

    def draw(self, logits: npt.NDArray[np.float32]) -> None:
        self.tokens.append(self.drawer.draw(logits).token)


def schemas(
    factory: ConstraintFactory, seeds: range, schema_of: Callable[[int], dict[str, Any]]
) -> Iterator[tuple[int, dict[str, Any], Constraint]]:
    """The schemas that are not refused."""
    for seed in seeds:
        schema = schema_of(seed)
        try:
            yield seed, schema, factory.from_json_schema(schema)
        except ModelError:
            if schema_of is random_schema:
                raise


def write(
    model: Model, seeds: range, schema_of: Callable[[int], dict[str, Any]]
) -> Iterator[tuple[dict[str, Any], str, bool, int]]:
    """Texts of random schemas, `TOGETHER` at a time -> schema, text, whether it ended, tokens."""
    tokenizer, engine, n_vocab = model.tokenizer, model.engine, model.hparams.n_vocab
    factory = ConstraintFactory(tokenizer, n_vocab)
    prompt = model.tokenize(PROMPT)
    waiting = schemas(factory, seeds, schema_of)
    writing: list[Writing] = []
    while True:
        for seed, schema, constraint in islice(waiting, TOGETHER - len(writing)):
            temperature = 0.0 if seed % 10 == 0 else 0.8
            chain = SamplerChain(SamplingParams(seed=seed, temperature=temperature), n_vocab)
            new = Writing(schema, Drawer(chain, constraint), engine.new_sequence())
            new.draw(engine.evaluate(new.sequence, prompt)[-1])
            writing.append(new)
        if not writing:
            return
        going_on = []
        for each in writing:
            ended = each.drawer.is_complete or tokenizer.is_eog(each.tokens[-1])
            if ended or len(each.tokens) == MAX_TOKENS:
                each.sequence.close()
                pieces = [tokenizer.token_bytes(t, special=False) for t in each.tokens]
                text = b"".join(pieces).decode(errors="replace")
                yield each.schema, text, ended, len(each.tokens)
            else:
                going_on.append(each)
        writing = going_on
        if writing:
            rows = engine.forward([(each.sequence, each.tokens[-1:]) for each in writing])
            for each, logits in zip(writing, rows, strict=True):
                each.draw(logits)


def texts(model_path: Path, seeds: range, schema_of: Callable[[int], dict[str, Any]]) -> None:
    """Write and validate; ends with status 1 where a text is wrong."""
    start = perf_counter()
    n_texts = n_ended = n_tokens = n_wrong = 0
    with Model(model_path, device="cpu", n_ctx=256, n_parallel=TOGETHER) as model:
        for schema, text, ended, n in write(model, seeds, schema_of):
            n_texts += 1
            n_tokens += n
            n_ended += ended
            for error in errors(schema, text) if ended else ():
                n_wrong += 1
                print(f"{error}\n  {json.dumps(schema)}\n  {text}", flush=True)
    rate = n_tokens / (perf_counter() - start)
    print(
        f"{n_texts} schemas: {n_ended} texts came to their end, {n_wrong} of them wrong; "
        f"{n_tokens} tokens, {rate:.0f} tok/s"
    )
    sys.exit(n_wrong > 0)


def longest_tokens(tokenizer: Tokenizer, text: bytes) -> list[int]:
    """The text as tokens, each the longest that goes on."""
    pieces = (tokenizer.token_bytes(token, special=False) for token in range(tokenizer.n_vocab))
    by_piece = {piece: token for token, piece in enumerate(pieces)}
    tokens = []
    while text:
        n = next(n for n in range(len(text), 0, -1) if text[:n] in by_piece)
        tokens.append(by_piece[text[:n]])
        text = text[n:]
    return tokens


def masks(vocabulary: Path, rounds: int = 20) -> None:
    """Microseconds of the processor for a mask: over all rounds, each with a fresh constraint."""
    tokenizer = Tokenizer.from_gguf(vocabulary)
    start = thread_time()
    factory = ConstraintFactory(tokenizer, tokenizer.n_vocab)
    print(f"{vocabulary.name}: {tokenizer.n_vocab} tokens, read in {thread_time() - start:.2f} s")
    for name, (schema, value) in SCHEMAS.items():
        tokens = longest_tokens(tokenizer, json.dumps(value).encode())
        seconds: list[float] = []
        built: list[float] = []
        for _ in range(rounds):
            start = thread_time()
            constraint = factory.from_json_schema(schema)
            built.append(thread_time() - start)
            for token in tokens:
                start = thread_time()
                constraint.mask()
                seconds.append(thread_time() - start)
                constraint.accept(token)
        mask, build = np.array(seconds) * 1e6, np.median(built) * 1e3
        print(
            f"  {name:10} built in {build:4.1f} ms; mask: mean {mask.mean():5.1f}, "
            f"median {np.median(mask):5.1f}, 99 % within {np.percentile(mask, 99):6.1f} us"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    writing = commands.add_parser("texts")
    writing.add_argument("--first", type=int, default=0, help="the first seed")
    writing.add_argument("--count", type=int, default=10_000)
    writing.add_argument("--keywords", action="store_true")
    writing.add_argument("--model", type=Path, default=ROOT / "models" / "demo.gguf")
    timing = commands.add_parser("masks")
    timing.add_argument("files", type=Path, nargs="+")
    options = parser.parse_args()
    if options.command == "texts":
        seeds = range(options.first, options.first + options.count)
        texts(options.model, seeds, keyword_schema if options.keywords else random_schema)
    for file in getattr(options, "files", ()):
        masks(file)


if __name__ == "__main__":
    main()
