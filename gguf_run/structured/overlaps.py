"""Finds lexemes that a greedy lexer would read too far."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from gguf_run.structured.grammar import Alt, Chars, Expr, Lexeme, Ref, Repeat, Seq, parts, walk

_FEW = 32
"""Repetitions of up to so many states are followed one by one; others count as unbounded.

That makes a lexeme longer in the test than it is, so the test finds more and misses nothing.
"""


class BudgetError(Exception):
    """The test would take too long."""


@dataclass(slots=True)
class Budget:
    """Steps that are left."""

    left: int

    def spend(self, steps: int) -> None:
        self.left -= steps
        if self.left < 0:
            raise BudgetError


def overlapping(
    rules: Mapping[str, Expr], regular: Mapping[str, Expr], budget: Budget
) -> set[Expr]:
    """Expressions of lexemes that may go on where another, or they themselves, may end.

    Args:
        rules: trees of lexemes; `root` is the first.
        regular: the rules that lexemes refer to.

    Raises:
        BudgetError: the budget is spent.
    """
    alphabet = _Alphabet(rules, regular, budget)
    machine = _Machine(alphabet, regular, budget)
    lexemes = dict.fromkeys(
        e.expr for expr in rules.values() for e in walk(expr) if isinstance(e, Lexeme)
    )
    for expr in lexemes:
        machine.add(expr)
    follows = _Follows(rules, machine, budget).of_lexemes()
    return machine.overlaps(follows)


class _Alphabet:
    """Characters that no class tells apart are one letter; sets of letters are bits."""

    def __init__(
        self, rules: Mapping[str, Expr], regular: Mapping[str, Expr], budget: Budget
    ) -> None:
        classes: dict[Chars, None] = {}
        for source in (rules, regular):
            for expr in source.values():
                for part in walk(expr):
                    budget.spend(1)
                    if isinstance(part, Chars):
                        classes[part] = None
        cuts = {cut for c in classes for low, high in c.ranges for cut in (low, high + 1)}
        self._cuts = sorted(cuts)
        budget.spend(len(classes) * (1 + len(cuts) // 64))

    def letters(self, chars: Chars) -> int:
        """The set of letters that a class is."""
        result = 0
        for low, high in chars.ranges:
            first, end = bisect_left(self._cuts, low), bisect_left(self._cuts, high + 1)
            result |= (1 << end) - (1 << first)
        return result


@dataclass(slots=True)
class _Machine:
    """All lexemes as one nondeterministic automaton.

    State i goes to `steps[i] = (letters, state)` with a letter, and to `free[i]` without one.
    """

    alphabet: _Alphabet
    regular: Mapping[str, Expr]
    budget: Budget
    steps: list[tuple[int, int] | None] = field(default_factory=list)
    free: list[list[int]] = field(default_factory=list)
    owner: list[Expr] = field(default_factory=list)
    starts: dict[Expr, int] = field(default_factory=dict)
    ends: dict[int, Expr] = field(default_factory=dict)

    def add(self, expr: Expr) -> None:
        """Add a lexeme."""
        before = len(self.steps)
        start = self._state()
        end = self._build(expr, start)
        self.starts[expr] = start
        self.ends[end] = expr
        self.owner += [expr] * (len(self.steps) - before)

    def first(self, expr: Expr) -> tuple[int, bool]:
        """Letters that a lexeme may begin with, and whether it may be empty."""
        states = self._closure([self.starts[expr]])
        letters = 0
        for state in states:
            step = self.steps[state]
            letters |= step[0] if step else 0
        return letters, any(self.ends.get(state) == expr for state in states)

    def overlaps(self, follows: Mapping[Expr, int]) -> set[Expr]:
        """Lexemes that go on with a letter which may follow one that has matched."""
        found: set[Expr] = set()
        start = self._closure(self.starts.values())
        seen = {start}
        pending = [start]
        while pending:
            states = pending.pop()
            if states is not start:
                after = 0
                for state in states:
                    after |= follows[self.ends[state]] if state in self.ends else 0
                found |= self._going_on(states, after)
            for target in self._targets(states):
                if target not in seen:
                    seen.add(target)
                    pending.append(target)
        return found

    def _going_on(self, states: frozenset[int], letters: int) -> set[Expr]:
        if not letters:
            return set()
        moves = ((state, self.steps[state]) for state in states)
        return {self.owner[state] for state, step in moves if step and step[0] & letters}

    def _targets(self, states: frozenset[int]) -> Iterable[frozenset[int]]:
        """Where each letter leads; letters that lead to the same are taken together."""
        groups: list[tuple[int, list[int]]] = []
        for state in states:
            step = self.steps[state]
            if step is None:
                continue
            letters, target = step
            self.budget.spend(1 + len(groups))
            split: list[tuple[int, list[int]]] = []
            for known, targets in groups:
                if known & letters:
                    split.append((known & letters, [*targets, target]))
                if known & ~letters:
                    split.append((known & ~letters, targets))
                letters &= ~known
            if letters:
                split.append((letters, [target]))
            groups = split
        return [self._closure(targets) for _, targets in groups]

    def _closure(self, states: Iterable[int]) -> frozenset[int]:
        seen = set(states)
        pending = list(seen)
        while pending:
            for target in self.free[pending.pop()]:
                if target not in seen:
                    seen.add(target)
                    pending.append(target)
        self.budget.spend(len(seen))
        return frozenset(seen)

    def _state(self) -> int:
        self.budget.spend(1)
        self.steps.append(None)
        self.free.append([])
        return len(self.steps) - 1

    def _build(self, expr: Expr, start: int) -> int:
        """Add what reads `expr` from `start` on -> the state it ends in."""
        if isinstance(expr, Chars):
            end = self._state()
            inner = self._state()
            self.free[start].append(inner)
            self.steps[inner] = (self.alphabet.letters(expr), end)
            return end
        if isinstance(expr, Ref):
            return self._build(self.regular[expr.name], start)
        if isinstance(expr, Seq):
            for item in expr.items:
                start = self._build(item, start)
            return start
        if isinstance(expr, Alt):
            end = self._state()
            for option in expr.options:
                begin = self._state()
                self.free[start].append(begin)
                self.free[self._build(option, begin)].append(end)
            return end
        assert isinstance(expr, Repeat)
        return self._repeat(expr, start)

    def _repeat(self, expr: Repeat, start: int) -> int:
        if expr.most is None or (expr.most > 1 and expr.most * _size(expr.item) > _FEW):
            loop = self._state()
            self.free[start].append(loop)
            end = self._build(expr.item, loop)
            self.free[end].append(loop)
            if not expr.least:
                self.free[loop].append(end)
            return end
        end = self._state()
        for i in range(expr.most):
            if i >= expr.least:
                self.free[start].append(end)
            start = self._build(expr.item, start)
        self.free[start].append(end)
        return end


def _size(expr: Expr) -> int:
    """About how many states an expression has; one that refers to rules has too many."""
    all_of_it = list(walk(expr))
    return _FEW + 1 if any(isinstance(e, Ref) for e in all_of_it) else len(all_of_it)


@dataclass(slots=True)
class _Follows:
    """Which letters may come after a lexeme, by the usual equations, solved step by step."""

    rules: Mapping[str, Expr]
    machine: _Machine
    budget: Budget
    firsts: dict[str, tuple[int, bool]] = field(default_factory=dict)
    after_rule: dict[str, int] = field(default_factory=dict)
    after_lexeme: dict[Expr, int] = field(default_factory=dict)
    lexeme_firsts: dict[Expr, tuple[int, bool]] = field(default_factory=dict)

    def of_lexemes(self) -> Mapping[Expr, int]:
        """Letters, by the lexeme's expression."""
        self.lexeme_firsts = {expr: self.machine.first(expr) for expr in self.machine.starts}
        self.after_lexeme = dict.fromkeys(self.machine.starts, 0)
        self.after_rule = dict.fromkeys(self.rules, 0)
        self.firsts = dict.fromkeys(self.rules, (0, False))
        before: object = None
        while before != self.firsts:
            before = dict(self.firsts)
            for name in reversed(list(self.rules)):
                self.firsts[name] = self._first(self.rules[name])
        before = None
        while before != self.after_rule:
            before = dict(self.after_rule)
            for name, expr in self.rules.items():
                self._visit(expr, self.after_rule[name])
        return self.after_lexeme

    def _first(self, expr: Expr) -> tuple[int, bool]:
        """Letters that a part may begin with, and whether it may be empty."""
        self.budget.spend(1)
        if isinstance(expr, Lexeme):
            return self.lexeme_firsts[expr.expr]
        if isinstance(expr, Ref):
            return self.firsts[expr.name]
        found = [self._first(part) for part in parts(expr)]
        if isinstance(expr, Repeat):
            return found[0][0], found[0][1] or not expr.least
        if isinstance(expr, Alt):
            return _union(letters for letters, _ in found), any(empty for _, empty in found)
        letters = 0
        for each, empty in found:
            letters |= each
            if not empty:
                return letters, False
        return letters, True

    def _visit(self, expr: Expr, after: int) -> None:
        """Note that a part may be followed by these letters."""
        self.budget.spend(1)
        if isinstance(expr, Lexeme):
            self.after_lexeme[expr.expr] |= after
        elif isinstance(expr, Ref):
            self.after_rule[expr.name] |= after
        elif isinstance(expr, Repeat):
            again = 0 if expr.most == 1 else self._first(expr.item)[0]
            self._visit(expr.item, after | again)
        elif isinstance(expr, Alt):
            for option in expr.options:
                self._visit(option, after)
        else:
            for item in reversed(parts(expr)):
                self._visit(item, after)
                letters, empty = self._first(item)
                after = letters | (after if empty else 0)


def _union(sets: Iterable[int]) -> int:
    result = 0
    for each in sets:
        result |= each
    return result
