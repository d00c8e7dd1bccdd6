"""What the rules of a grammar may cost the engine, which bounds most of its work, but not all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gguf_run.errors import ModelError
from gguf_run.structured.grammar import Expr, Lexeme, Ref, parts

MAX_PARTS = 20_000
"""Parts of rules; the engine numbers them with 16 bits, some of them more than once."""

MAX_DESCENT = 600
"""How far rules are entered from rules: the engine descends with its stack, 8 MB of which were
used up at 2,500 (llguidance 1.9.1, Linux)."""


def check_limits(rules: Mapping[str, Expr], lines: Mapping[str, tuple[int, int]]) -> None:
    """Refuse rules (from `lexemes.cut`) that the engine can't take.

    Raises:
        ModelError: with the limit, and the place where a rule is too far from `root`.
    """
    n_parts = sum(_n_parts(expr) for expr in rules.values())
    if n_parts > MAX_PARTS:
        raise ModelError(
            f"grammar: expected at most {MAX_PARTS} parts in rules that recurse, found {n_parts}; "
            "move what does not recurse to rules of its own, or shorten it"
        )
    name = _too_deep(rules)
    if name is not None:
        line, column = lines[name]
        raise ModelError(
            f"grammar, line {line}, column {column}: expected rules at most {MAX_DESCENT} deep in "
            f"one another, found rule {name} deeper; make the grammar flatter"
        )


def _n_parts(expr: Expr) -> int:
    """Parts down to the lexemes, which the lexer sees alone."""
    count, stack = 0, [expr]
    while stack:
        count += 1
        top = stack.pop()
        stack += () if isinstance(top, Lexeme) else parts(top)
    return count


def _too_deep(rules: Mapping[str, Expr]) -> str | None:
    """The first rule that is too deep, going as the engine goes: from left to right, once each."""
    entered = {"root"}
    stack: list[tuple[str, Iterator[Expr]]] = [("root", iter((rules["root"],)))]
    while stack:
        name, rest = stack[-1]
        expr = next(rest, None)
        if expr is None:
            stack.pop()
        elif not isinstance(expr, (Ref, Lexeme)):
            stack.append((name, iter(parts(expr))))
        elif isinstance(expr, Ref) and expr.name not in entered:
            entered.add(expr.name)
            stack.append((expr.name, iter((rules[expr.name],))))
        if len(stack) > MAX_DESCENT:
            return stack[-1][0]
    return None
