"""Cuts a grammar into lexemes, the regular parts that the engine's lexer reads in one piece.

The engine's lexer is greedy: it goes on for as long as any lexeme that may come does, and where
all have ended, takes those that end with the last character. GBNF knows no lexer; a text matches
if it matches in any way. Both agree where no lexeme, having matched, might also go on with a
character that what follows it begins with. So lexemes are made as large as they can be (every part
that does not recurse) and those that fail this test are cut up, in the end to single characters,
which always pass it. The test supposes that all lexemes may come everywhere.
"""

from __future__ import annotations

from collections.abc import Callable

from gguf_run.structured.grammar import Alt, Chars, Expr, Lexeme, Ref, Repeat, Seq, alt, seq, walk
from gguf_run.structured.overlaps import Budget, BudgetError, overlapping
from gguf_run.structured.simplify import Simple

WORK = 300_000
"""Steps that the test may take in all (0.3 s on one core); after that all is cut up."""


def cut(simple: Simple) -> dict[str, Expr]:
    """Rules, each a tree of `Lexeme`s and of references to others of these rules."""
    cutter = _Cutter(simple)
    budget = Budget(WORK)
    while len(cutter.rules) > 1 or not isinstance(cutter.rules["root"], Lexeme):
        try:
            bad = overlapping(cutter.rules, simple.rules, budget)
        except BudgetError:
            cutter.cut_all()
            break
        if not bad:
            break
        cutter.cut(bad)
    return cutter.rules


class _Cutter:
    """`rules` are those of the result; what is a rule there is no part of a lexeme."""

    def __init__(self, simple: Simple) -> None:
        self._source = simple
        names = [name for name in simple.rules if name not in simple.regular]
        self.rules: dict[str, Expr] = {}
        for name in names or ["root"]:
            self.rules[name] = self._chunked(simple.rules[name])

    def cut(self, bad: set[Expr]) -> None:
        """Cut lexemes of these expressions once."""
        for name in list(self.rules):
            self.rules[name] = self._cut(self.rules[name], bad)

    def cut_all(self) -> None:
        """Cut to single characters."""
        done: set[str] = set()
        while len(done) < len(self.rules):
            for name in [name for name in self.rules if name not in done]:
                self.rules[name] = self._atoms(self.rules[name])
                done.add(name)

    def _is_regular(self, expr: Expr) -> bool:
        return all(e.name in self._source.regular for e in walk(expr) if isinstance(e, Ref))

    def _chunked(self, expr: Expr) -> Expr:
        if self._is_regular(expr):
            return expr if expr == Seq(()) else Lexeme(expr)
        if isinstance(expr, Repeat):
            return Repeat(self._chunked(expr.item), expr.least, expr.most)
        if isinstance(expr, Alt):
            regular = [option for option in expr.options if self._is_regular(option)]
            others = [self._chunked(o) for o in expr.options if not self._is_regular(o)]
            return alt([*([self._chunked(alt(regular))] if regular else []), *others])
        return seq(self._runs(expr)) if isinstance(expr, Seq) else expr

    def _runs(self, expr: Seq) -> list[Expr]:
        """Neighbours that are regular are one lexeme."""
        result: list[Expr] = []
        run: list[Expr] = []
        for item in expr.items:
            if self._is_regular(item):
                run.append(item)
                continue
            result += [Lexeme(seq(run))] if run else []
            result.append(self._chunked(item))
            run = []
        return result + ([Lexeme(seq(run))] if run else [])

    def _cut(self, expr: Expr, bad: set[Expr]) -> Expr:
        if isinstance(expr, Lexeme):
            return self._halves(expr.expr) if expr.expr in bad else expr
        return _mapped(expr, lambda part: self._cut(part, bad))

    def _halves(self, expr: Expr) -> Expr:
        if isinstance(expr, Seq):
            *head, last = expr.items
            return Seq((Lexeme(seq(head)), Lexeme(last)))
        return self._opened(expr)

    def _atoms(self, expr: Expr) -> Expr:
        if isinstance(expr, Lexeme):
            opened = self._opened(expr.expr)
            return opened if isinstance(opened, Lexeme) else self._atoms(opened)
        return _mapped(expr, self._atoms)

    def _opened(self, expr: Expr) -> Expr:
        """A lexeme's parts as lexemes; a rule that is one becomes a rule of the result."""
        if isinstance(expr, Ref):
            if expr.name not in self.rules:
                self.rules[expr.name] = Lexeme(self._source.rules[expr.name])
            return expr
        return Lexeme(expr) if isinstance(expr, Chars) else _mapped(expr, Lexeme)


def _mapped(expr: Expr, change: Callable[[Expr], Expr]) -> Expr:
    """The expression with its parts changed."""
    if isinstance(expr, Seq):
        return Seq(tuple(change(item) for item in expr.items))
    if isinstance(expr, Alt):
        return Alt(tuple(change(option) for option in expr.options))
    if isinstance(expr, Repeat):
        return Repeat(change(expr.item), expr.least, expr.most)
    return expr
