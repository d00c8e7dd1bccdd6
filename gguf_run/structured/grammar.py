"""Grammars as trees: what GBNF is read into."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from gguf_run.structured.charset import Ranges


@dataclass(frozen=True, slots=True)
class Chars:
    """One character of a set."""

    ranges: Ranges


@dataclass(frozen=True, slots=True)
class Ref:
    """What a rule stands for."""

    name: str


@dataclass(frozen=True, slots=True)
class Seq:
    """One after the other; the empty text where there are none."""

    items: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Alt:
    """One of these; nothing at all where there are none."""

    options: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """`least` to `most` times; None: as often as one likes."""

    item: Expr
    least: int
    most: int | None


@dataclass(frozen=True, slots=True)
class Lexeme:
    """A regular part that the engine's lexer reads in one piece; made by `lexemes.py`."""

    expr: Expr


Expr: TypeAlias = Chars | Ref | Seq | Alt | Repeat | Lexeme

EMPTY = Seq(())


@dataclass(frozen=True, slots=True)
class Grammar:
    """Rules by name. `lines` says where each stands: (line, column), from 1."""

    rules: dict[str, Expr]
    lines: dict[str, tuple[int, int]]


def seq(items: list[Expr]) -> Expr:
    """A sequence, without needless nesting."""
    flat: list[Expr] = []
    for item in items:
        flat += item.items if isinstance(item, Seq) else [item]
    return flat[0] if len(flat) == 1 else Seq(tuple(flat))


def alt(options: list[Expr]) -> Expr:
    """A choice, without needless nesting."""
    flat: list[Expr] = []
    for option in options:
        flat += option.options if isinstance(option, Alt) else [option]
    return flat[0] if len(flat) == 1 else Alt(tuple(flat))


def parts(expr: Expr) -> tuple[Expr, ...]:
    """The expressions that one is made of."""
    if isinstance(expr, Seq):
        return expr.items
    if isinstance(expr, Alt):
        return expr.options
    if isinstance(expr, Repeat):
        return (expr.item,)
    return (expr.expr,) if isinstance(expr, Lexeme) else ()


def walk(expr: Expr) -> Iterator[Expr]:
    """An expression and all within it; rules that it refers to are not entered."""
    stack = [expr]
    while stack:
        top = stack.pop()
        yield top
        stack += reversed(parts(top))


def refs(expr: Expr) -> list[str]:
    """Names of the rules that an expression refers to, each once."""
    return list(dict.fromkeys(e.name for e in walk(expr) if isinstance(e, Ref)))
