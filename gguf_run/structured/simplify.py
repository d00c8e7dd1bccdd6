"""Makes grammars ready: what no text completes goes, plain recursion becomes loops."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass

from gguf_run.errors import ModelError
from gguf_run.structured.grammar import (
    EMPTY,
    Alt,
    Chars,
    Expr,
    Grammar,
    Ref,
    Repeat,
    Seq,
    alt,
    parts,
    refs,
    seq,
)

MAX_DEPTH = 200
"""How deep expressions may stand in one another, by groups and by rules that don't recurse.

The engine goes down them with the machine's stack, which hostile grammars must not exhaust.
"""


@dataclass(frozen=True, slots=True)
class Simple:
    """Rules that `root` needs, each of which stands for some text.

    regular: names of those that don't reach themselves, nor others that do.
    """

    rules: dict[str, Expr]
    regular: frozenset[str]


def simplify(grammar: Grammar) -> Simple:
    """Rewrite a grammar; the texts that `root` stands for stay the same.

    Raises:
        ModelError: no text ends as `root` asks, or the rules stand too deep in one another.
    """
    _check_depth(grammar.rules, (), grammar)
    rules = {name: _unrolled(name, expr) for name, expr in grammar.rules.items()}
    finite = _closure(rules, _is_finite)
    line, column = grammar.lines["root"]
    if "root" not in finite:
        raise ModelError(
            f"grammar, line {line}, column {column}: expected a root that some text can complete, "
            "found rules that need themselves without end; give them an option without that"
        )
    rules = {name: _pruned(rules[name], finite) for name in finite}
    rules = {name: rules[name] for name in _reachable(rules)}
    regular = _closure(rules, lambda expr, known: all(r in known for r in refs(expr)))
    _check_depth(rules, regular, grammar)
    return Simple(rules, frozenset(regular))


def _unrolled(name: str, expr: Expr) -> Expr:
    """`a ::= x a | y` as `x* y`, and `a ::= a x | y` as `y x*`; other rules as they are."""
    if name not in refs(expr):
        return expr
    # An option that is the rule itself adds no text.
    options = [option for option in _options(expr, name) if option != Ref(name)]
    own = [option for option in options if name in refs(option)]
    rest = alt([option for option in options if name not in refs(option)])
    heads = _without_self(own, name, -1)
    if heads is not None:
        return seq([Repeat(alt(heads), 0, None), rest])
    tails = _without_self(own, name, 0)
    if tails is not None:
        return seq([rest, Repeat(alt(tails), 0, None)])
    return expr


def _without_self(options: list[Expr], name: str, at: int) -> list[Expr] | None:
    """What stands beside the rule itself, if that is at this end of all options and only there."""
    others: list[Expr] = []
    for option in options:
        if not isinstance(option, Seq) or option.items[at] != Ref(name):
            return None
        other = seq(list(option.items[:-1] if at else option.items[1:]))
        if name in refs(other):
            return None
        others.append(other)
    return others


def _options(expr: Expr, name: str) -> list[Expr]:
    """The choices at the top, and those at the end of a sequence that hold the rule itself."""
    if isinstance(expr, Alt):
        return [option for each in expr.options for option in _options(each, name)]
    if isinstance(expr, Repeat) and (expr.least, expr.most) == (0, 1) and name in refs(expr):
        return [*_options(expr.item, name), EMPTY]
    if isinstance(expr, Seq) and expr.items and name in refs(expr.items[-1]):
        *head, last = expr.items
        return [seq([*head, option]) for option in _options(last, name)]
    return [expr]


def _closure(
    rules: dict[str, Expr], holds: Callable[[Expr, Container[str]], bool]
) -> dict[str, None]:
    """The least set of rules such that `holds(rule's expression, set)`, in order of discovery."""
    users: dict[str, list[str]] = {}
    for name, expr in rules.items():
        for used in refs(expr):
            users.setdefault(used, []).append(name)
    known: dict[str, None] = {}
    pending = list(rules)
    while pending:
        name = pending.pop()
        if name not in known and holds(rules[name], known):
            known[name] = None
            pending += users.get(name, [])
    return known


def _is_finite(expr: Expr, known: Container[str]) -> bool:
    """Whether some text completes the expression, given the rules of which that is known."""
    if isinstance(expr, Chars):
        return True
    if isinstance(expr, Ref):
        return expr.name in known
    if isinstance(expr, Repeat):
        return expr.least == 0 or _is_finite(expr.item, known)
    every = all if isinstance(expr, Seq) else any
    return every(_is_finite(part, known) for part in parts(expr))


def _pruned(expr: Expr, finite: Container[str]) -> Expr:
    """The expression without options that nothing completes."""
    if isinstance(expr, Repeat):
        if expr.most == 0 or not _is_finite(expr.item, finite):
            return EMPTY
        return Repeat(_pruned(expr.item, finite), expr.least, expr.most)
    if isinstance(expr, Alt):
        return alt([_pruned(o, finite) for o in expr.options if _is_finite(o, finite)])
    if isinstance(expr, Seq):
        return seq([_pruned(item, finite) for item in expr.items])
    return expr


def _reachable(rules: dict[str, Expr]) -> Iterable[str]:
    found = {"root": None}
    pending = ["root"]
    while pending:
        for name in refs(rules[pending.pop()]):
            if name not in found:
                found[name] = None
                pending.append(name)
    return found


def _check_depth(rules: dict[str, Expr], regular: Iterable[str], grammar: Grammar) -> None:
    """`regular` names a rule after those that it refers to."""
    depths: dict[str, int] = {}
    for name in dict.fromkeys([*regular, *rules]):
        depth = _depth(rules[name], depths)
        if depth > MAX_DEPTH:
            line, column = grammar.lines[name]
            raise ModelError(
                f"grammar, line {line}, column {column}: expected expressions and rules at most "
                f"{MAX_DEPTH} deep in one another, found rule {name} deeper; make it flatter"
            )
        if name in regular:
            depths[name] = depth


def _depth(expr: Expr, depths: Mapping[str, int]) -> int:
    deepest = 0
    stack = [(expr, 1)]
    while stack:
        top, depth = stack.pop()
        deepest = max(deepest, depth + (depths.get(top.name, 0) if isinstance(top, Ref) else 0))
        stack += [(part, depth + 1) for part in parts(top)]
    return deepest
