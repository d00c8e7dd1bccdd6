"""Grammars, schemas and expressions made to hurt are followed or refused, soon, in little memory.

They run in another process, as what they hurt is native code.
"""

from __future__ import annotations

import multiprocessing
import random
import resource
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import pytest
from grammars import DEMO_MODEL

from gguf_run import GGUFRunError
from gguf_run.structured.factory import ConstraintFactory
from gguf_run.tokenizer import Tokenizer

SECONDS = 60
"""Far more than any takes (3 s on one core), as machines that run tests are busy."""
MEGABYTES = 600
N_TOKENS = 40

Given = dict[str, Any]


def _definitions(n: int, link: Callable[[str], Any]) -> Given:
    chain = {f"a{i}": link(f"#/$defs/a{i + 1}") for i in range(n)}
    last = {"type": "string", "pattern": "a"}
    return {"json_schema": {"$ref": "#/$defs/a0", "$defs": {**chain, f"a{n}": last}}}


def _nested(n: int) -> Given:
    return {"json_schema": '{"items":' * n + "{}" + "}" * n}


def _rules(n: int, body: str, last: str) -> Given:
    chain = "\n".join(f"a{i} ::= {body.replace('@', f'a{i + 1}')}" for i in range(n))
    return {"grammar": f"root ::= a0\n{chain}\na{n} ::= {last}"}


def _both(first: str, second: str) -> Given:
    patterns = [{"type": "string", "pattern": pattern} for pattern in (first, second)]
    return {"json_schema": {"allOf": patterns}}


WORDS = " | ".join(f'"w{i}"' for i in range(9000))
LOOP = ' | "(" root ")"'

CASES: dict[str, Given] = {
    "left recursion": {"grammar": 'root ::= root "a" | root root | "b"'},
    "every way to part a text": {"grammar": 'root ::= root root | root root root | "a" | ""'},
    "rules that double": _rules(60, "@ @", '"x"'),
    "recursive rules that double": _rules(60, "@ @", '"x"' + LOOP),
    "rules in a row": _rules(5000, "@", '"x"'),
    "recursive rules in a row": _rules(5000, '@ "y"?', '"x"' + LOOP),
    "recursive rules, all first": {
        "grammar": _rules(4000, '@ "y"?', '"x"' + LOOP)["grammar"].replace(
            "a0\n", " | ".join(f"a{i}" for i in range(1500)) + "\n", 1
        )
    },
    "repetitions in repetitions": {"grammar": 'root ::= ((("a"{2000}){2000}){2000}){2000}'},
    "repetitions of recursion": {"grammar": 'root ::= ((("a" | "(" root ")"){2000}){2000}){2000}'},
    "loops in loops": {"grammar": "root ::= " + "(" * 49 + '"a" root?' + ")*+?" * 49},
    "many words": {"grammar": f"root ::= ({WORDS})+"},
    "many words beside recursion": {"grammar": f'root ::= ({WORDS}) root? | "(" root ")"'},
    "many words before recursion": {"grammar": f'root ::= ({WORDS})+ "." | "(" root ")" ({WORDS})'},
    "states that double": {"grammar": 'root ::= [ab]* "a" [ab]{2000} root | "c"'},
    "options without end": {"grammar": "root ::= (" + '("a"? "b"?)* ' * 1000 + ') root | "c"'},
    "a long literal": {"grammar": 'root ::= "' + "a" * 130_000 + '"'},
    "a schema that is itself": {"json_schema": {"$ref": "#"}},
    "schemas that are each other": {
        "json_schema": {"allOf": [{"$ref": "#/allOf/1"}, {"$ref": "#/allOf/0"}]}
    },
    "choices that double": _definitions(30, lambda to: {"anyOf": [{"$ref": to}, {"$ref": to}]}),
    "merges that double": _definitions(30, lambda to: {"allOf": [{"$ref": to}, {"$ref": to}]}),
    "references in a row": _definitions(5000, lambda to: {"$ref": to}),
    "properties in a row": _definitions(3000, lambda to: {"properties": {"p": {"$ref": to}}}),
    "merges in a row": _definitions(3000, lambda to: {"allOf": [{"$ref": to}]}),
    "deep schemas": _nested(300),
    "deeper schemas": _nested(20_000),
    "arrays without end": {"json_schema": {"items": {"$ref": "#"}, "type": "array", "minItems": 1}},
    "long strings": {"json_schema": {"type": "string", "minLength": 10**8}},
    "long arrays": {"json_schema": {"type": "array", "minItems": 10**9}},
    "many properties": {"json_schema": {"properties": {f"p{i}": {} for i in range(3000)}}},
    "many values": {"json_schema": {"enum": [f"word {i}" for i in range(9000)]}},
    "multiples of much": {"json_schema": {"type": "integer", "multipleOf": 999_983}},
    "multiples of many": {"json_schema": {"allOf": [{"multipleOf": n} for n in (9973, 9967)]}},
    "two hard patterns": _both("^.*a.{200}$", "^.*b.{201}$"),
    "many patterns": {
        "json_schema": {"allOf": [{"type": "string", "pattern": f"a.{{{i}}}b"} for i in range(60)]}
    },
    "wrong kinds of values": {"json_schema": {"properties": 5, "anyOf": {"a": 1}, "items": "x"}},
    "half a character": {"json_schema": {"const": "\ud800"}},
    "an expression that doubles": {"regex": "(a|b)*a(a|b){5000}"},
    "repetitions in an expression": {"regex": "((a{1000}){1000}){1000}"},
    "deep parentheses": {"regex": "(" * 5000 + "a" + ")" * 5000},
    "letters of all kinds": {"regex": r"[\p{L}\p{N}]{0,1000}(\p{Greek}|\w){1000}"},
}


_factories: list[ConstraintFactory] = []


def _follow(given: Given) -> tuple[str, float]:
    """In the other process: build, write a little -> the error, the most megabytes so far."""
    if not _factories:
        tokenizer = Tokenizer.from_gguf(DEMO_MODEL)
        _factories.append(ConstraintFactory(tokenizer, tokenizer.n_vocab))
    wanted = {"grammar": None, "json_schema": None, "regex": None, **given}
    rng = random.Random(0)
    said = ""
    try:
        constraint = _factories[0].make(**wanted)
        for _ in range(N_TOKENS):
            if constraint.is_complete:
                break
            constraint.accept(int(rng.choice(constraint.mask().nonzero()[0])))
    except GGUFRunError as error:
        said = str(error)
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return said, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


class Worker:
    """A process that runs one case after the other; a new one where that has died or hangs."""

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None

    def follow(self, given: Given) -> tuple[str, float]:
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(1, mp_context=context)
        try:
            return self._pool.submit(_follow, given).result(SECONDS)
        except (BrokenProcessPool, TimeoutError, FutureTimeoutError):
            self.close()
            raise

    def close(self) -> None:
        if self._pool is not None:
            for process in list(self._pool._processes.values()):
                process.kill()
            self._pool.shutdown(cancel_futures=True)
            self._pool = None


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    worker = Worker()
    yield worker
    worker.close()


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_what_is_made_to_hurt_is_followed_or_refused(worker: Worker, name: str) -> None:
    said, megabytes = worker.follow(CASES[name])
    assert not said or "expected" in said
    assert len(said) < 500
    assert megabytes < MEGABYTES
