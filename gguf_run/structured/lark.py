r"""Writes grammars in the engine's notation, a dialect of Lark's.

Rules are `r0`, `r1`, ...; lexemes and the rules that they refer to are terminals, `T0`, `T1`, ...
Characters are written by number only (`/[\x{61}-\x{7a}]/`), so nothing needs to be escaped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gguf_run.structured.grammar import Alt, Chars, Expr, Lexeme, Ref, Repeat, Seq

_MAX_NESTING = 10
"""Groups that stand deeper get a symbol of their own: the engine reads about 30."""


def write_lark(rules: Mapping[str, Expr], regular: Mapping[str, Expr]) -> str:
    """A grammar from `lexemes.cut`.

    Args:
        rules: trees of lexemes, `root` among them.
        regular: the rules that lexemes refer to.
    """
    writer = _Writer(rules, regular)
    writer.write_rules()
    return "\n".join(writer.lines) + "\n"


class _Writer:
    def __init__(self, rules: Mapping[str, Expr], regular: Mapping[str, Expr]) -> None:
        self._rules = rules
        self._regular = regular
        self._rule_names = {name: f"r{i}" for i, name in enumerate(rules)}
        self._terminals: dict[Expr, str] = {}
        self._n_extra = 0
        self.lines = [f"start: {self._rule_names['root']}"]

    def write_rules(self) -> None:
        for name, expr in self._rules.items():
            self.lines.append(f"{self._rule_names[name]}: {self._rule(expr, 0)}")

    def _rule(self, expr: Expr, depth: int) -> str:
        if isinstance(expr, Lexeme):
            return self._terminal(expr.expr)
        if isinstance(expr, Ref):
            return self._rule_names[expr.name]
        if depth > _MAX_NESTING:
            self._n_extra += 1
            name = f"r{len(self._rules) + self._n_extra}"
            self.lines.append(f"{name}: {self._rule(expr, 0)}")
            return name
        return self._joined(expr, depth, self._rule)

    def _terminal(self, expr: Expr) -> str:
        """The symbol of a terminal."""
        if expr not in self._terminals:
            # A terminal of one rule is that rule's.
            whole = self._regular[expr.name] if isinstance(expr, Ref) else expr
            text = self._part(whole, 0)
            name = f"T{len(self._terminals)}"
            self._terminals[expr] = name
            self.lines.append(f"{name}: {text}")
        return self._terminals[expr]

    def _part(self, expr: Expr, depth: int) -> str:
        """The text of a part of a terminal."""
        if isinstance(expr, Chars):
            return f"/{_class(expr)}/"
        if isinstance(expr, Ref) or depth > _MAX_NESTING:
            return self._terminal(expr)
        return self._joined(expr, depth, self._part)

    def _joined(self, expr: Expr, depth: int, write: Callable[[Expr, int], str]) -> str:
        if isinstance(expr, Seq):
            return self._sequence(expr, depth, write)
        if isinstance(expr, Alt):
            return "(" + " | ".join(write(option, depth + 1) for option in expr.options) + ")"
        assert isinstance(expr, Repeat)
        most = "" if expr.most is None else expr.most
        return f"({write(expr.item, depth + 1)}){{{expr.least},{most}}}"

    def _sequence(self, expr: Seq, depth: int, write: Callable[[Expr, int], str]) -> str:
        pieces: list[str] = []
        for item in expr.items:
            piece = write(item, depth)
            if isinstance(item, Chars) and pieces and pieces[-1].endswith("/"):
                # Literals are easier to read, and read faster, in one piece.
                pieces[-1] = pieces[-1][:-1] + piece[1:]
            else:
                pieces.append(piece)
        return " ".join(pieces) or '""'


def _class(chars: Chars) -> str:
    ranges = chars.ranges
    if len(ranges) == 1 and ranges[0][0] == ranges[0][1]:
        return f"\\x{{{ranges[0][0]:x}}}"
    return "[" + "".join(f"\\x{{{low:x}}}-\\x{{{high:x}}}" for low, high in ranges) + "]"
