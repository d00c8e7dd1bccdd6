r"""Reads GBNF, llama.cpp's notation of grammars.

    root  ::= pair ("," pair)*          # a comment
    pair  ::= name "=" [^,\n]{1,20}

Rules of letters, digits, `-` and `_`; literals, character classes, `.` for any character; escapes
\x41 \u0041 \U00000041 \n \r \t \\ \" \[ \]; groups, `|`, and the repetitions ? * + {m} {m,} {m,n}.
A rule ends with its line, unless that ends with `|` or within a group; of two rules of one name the
later one counts. The text must be what `root` stands for.
"""

from __future__ import annotations

from typing import NoReturn

from gguf_run.errors import ModelError
from gguf_run.structured.charset import complement, ranges_of
from gguf_run.structured.grammar import Chars, Expr, Grammar, Ref, Repeat, Seq, alt, refs, seq

MAX_LENGTH = 100_000
MAX_NESTING = 50
MAX_STACKED = 3
MAX_REPETITIONS = 2000
"""As in llama.cpp, so that a short grammar stands for no giant one."""

_WORD = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")
_HEX = frozenset("0123456789abcdefABCDEF")
_DIGITS = frozenset("0123456789")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\", '"': '"', "[": "[", "]": "]"}
_HEX_ESCAPES = {"x": 2, "u": 4, "U": 8}
_QUANTIFIERS: dict[str, tuple[int, int | None]] = {"*": (0, None), "+": (1, None), "?": (0, 1)}
_REPEATS = frozenset("*+?{")
_ANY = Chars(complement(()))


def parse_gbnf(text: str) -> Grammar:
    """The rules of a grammar; every rule referred to is there, and `root` is.

    Raises:
        ModelError: with line and column, what was expected and what was found.
    """
    if len(text) > MAX_LENGTH:
        raise ModelError(
            f"grammar: expected at most {MAX_LENGTH} characters, found {len(text)}; shorten it"
        )
    return _Parser(text).grammar()


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0
        self._rules: dict[str, Expr] = {}
        self._starts: dict[str, int] = {}
        self._used: dict[str, int] = {}

    def grammar(self) -> Grammar:
        self._space(newlines=True)
        while self._at < len(self._text):
            self._rule()
            self._space(newlines=True)
        if "root" not in self._rules:
            self._fail("a rule named root, which a text begins with", "none")
        for expr in self._rules.values():
            for name in refs(expr):
                if name not in self._rules:
                    self._at = self._used[name]
                    self._fail(f"a rule {name} somewhere in the grammar", "none")
        return Grammar(self._rules, {name: self._place(at) for name, at in self._starts.items()})

    def _rule(self) -> None:
        start = self._at
        name = self._name()
        self._space(newlines=False)
        if not self._text.startswith("::=", self._at):
            self._fail(f"::= after the rule's name {name}")
        self._at += 3
        self._space(newlines=True)
        self._rules[name] = self._choice(nested=False)
        self._starts[name] = start
        if self._peek() not in ("", "\n", "\r"):
            self._fail("the end of the line, a literal, a class, a rule's name, ( or |")

    def _choice(self, nested: bool) -> Expr:
        options = [self._sequence(nested)]
        while self._peek() == "|":
            self._at += 1
            self._space(newlines=True)
            options.append(self._sequence(nested))
        return alt(options)

    def _sequence(self, nested: bool) -> Expr:
        items: list[Expr] = []
        while True:
            item = self._item()
            if item is None:
                if self._peek() in _REPEATS:
                    self._fail("something to repeat")
                return seq(items)
            self._space(nested)
            items.append(self._repeated(item, nested))

    def _item(self) -> Expr | None:
        c = self._peek()
        if c == '"':
            return self._literal()
        if c == "[":
            return self._class()
        if c == "(":
            return self._group()
        if c == ".":
            self._at += 1
            return _ANY
        if c in _WORD:
            at = self._at
            name = self._name()
            self._used.setdefault(name, at)
            return Ref(name)
        return None

    def _literal(self) -> Expr:
        opening = self._at
        self._at += 1
        items: list[Expr] = []
        while self._peek() != '"':
            if not self._peek():
                self._at = opening
                self._fail('a closing " of this literal', "the end of the grammar")
            code = self._char()
            items.append(Chars(((code, code),)))
        self._at += 1
        return items[0] if len(items) == 1 else Seq(tuple(items))

    def _class(self) -> Expr:
        opening = self._at
        self._at += 1
        negated = self._peek() == "^"
        self._at += negated
        pairs: list[tuple[int, int]] = []
        while self._peek() != "]":
            if not self._peek():
                self._at = opening
                self._fail("a closing ] of this class", "the end of the grammar")
            pairs.append(self._range())
        self._at += 1
        ranges = ranges_of(pairs)
        ranges = complement(ranges) if negated else ranges
        if not ranges:
            self._at = opening
            self._fail("a class of at least one character", "none")
        return Chars(ranges)

    def _range(self) -> tuple[int, int]:
        start = self._at
        low = high = self._char()
        if self._peek() == "-" and self._text[self._at + 1 : self._at + 2] != "]":
            self._at += 1
            if not self._peek():
                self._fail("the last character of a range")
            high = self._char()
            if high < low:
                found = self._text[start : self._at]
                self._at = start
                self._fail("a range that ascends", repr(found))
        return low, high

    def _group(self) -> Expr:
        opening = self._at
        self._depth += 1
        if self._depth > MAX_NESTING:
            self._fail(f"groups within groups at most {MAX_NESTING} deep", "a deeper one")
        self._at += 1
        self._space(newlines=True)
        expr = self._choice(nested=True)
        if self._peek() != ")":
            if not self._peek():
                self._at = opening
                self._fail("a closing ) of this group", "the end of the grammar")
            self._fail("a closing )")
        self._at += 1
        self._depth -= 1
        return expr

    def _repeated(self, item: Expr, nested: bool) -> Expr:
        n_stacked = 0
        while (c := self._peek()) in _REPEATS:
            n_stacked += 1
            if n_stacked > MAX_STACKED:
                self._fail(f"at most {MAX_STACKED} repetitions of one thing")
            if c == "{":
                least, most = self._bounds()
            else:
                self._at += 1
                least, most = _QUANTIFIERS[c]
            item = Repeat(item, least, most)
            self._space(nested)
        return item

    def _bounds(self) -> tuple[int, int | None]:
        opening = self._at
        self._at += 1
        self._space(newlines=True)
        least = self._number()
        self._space(newlines=True)
        most: int | None = least
        if self._peek() == ",":
            self._at += 1
            self._space(newlines=True)
            most = self._number() if self._peek() in _DIGITS else None
            self._space(newlines=True)
        if self._peek() != "}":
            self._fail("} after the number of repetitions")
        self._at += 1
        if max(least, most or 0) > MAX_REPETITIONS:
            found = str(max(least, most or 0))
            self._at = opening
            self._fail(f"at most {MAX_REPETITIONS} repetitions", found)
        if most is not None and most < least:
            self._at = opening
            self._fail(f"at least {least} as the most repetitions", str(most))
        return least, most

    def _number(self) -> int:
        start = self._at
        while self._peek() in _DIGITS:
            self._at += 1
        if start == self._at:
            self._fail("a number of repetitions")
        # More digits than any bound has would take long to convert.
        return int(self._text[start : min(self._at, start + 9)])

    def _name(self) -> str:
        start = self._at
        while self._peek() in _WORD:
            self._at += 1
        if start == self._at:
            self._fail("a rule's name")
        return self._text[start : self._at]

    def _char(self) -> int:
        c = self._text[self._at]
        if c != "\\":
            if "\ud800" <= c <= "\udfff":
                self._fail("UTF-8", "a byte that is none")
            self._at += 1
            return ord(c)
        kind = self._text[self._at + 1 : self._at + 2]
        if kind in _HEX_ESCAPES:
            return self._hex(_HEX_ESCAPES[kind])
        if kind not in _ESCAPES:
            self._fail(
                r"an escape: \x41 \u0041 \U00000041 \n \r \t \\ \" \[ or \]", repr("\\" + kind)
            )
        self._at += 2
        return ord(_ESCAPES[kind])

    def _hex(self, n_digits: int) -> int:
        digits = self._text[self._at + 2 : self._at + 2 + n_digits]
        if len(digits) < n_digits or not _HEX.issuperset(digits):
            self._fail(f"{n_digits} hexadecimal digits after {self._text[self._at :][:2]}")
        code = int(digits, 16)
        if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
            self._fail("a character of Unicode", f"the number {digits}")
        self._at += 2 + n_digits
        return code

    def _space(self, newlines: bool) -> None:
        blank = " \t\r\n" if newlines else " \t"
        while self._at < len(self._text):
            if self._text[self._at] in blank:
                self._at += 1
            elif self._text[self._at] == "#":
                end = self._text.find("\n", self._at)
                self._at = len(self._text) if end < 0 else end
            else:
                return

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _place(self, at: int) -> tuple[int, int]:
        before = self._text[:at]
        return before.count("\n") + 1, at - (before.rfind("\n") + 1) + 1

    def _fail(self, expected: str, found: str | None = None) -> NoReturn:
        line, column = self._place(self._at)
        if found is None:
            rest = self._text[self._at :].split("\n", 1)[0]
            found = repr(rest[:20]) if rest else "the end of the line"
        raise ModelError(
            f"grammar, line {line}, column {column}: expected {expected}, found {found}"
        )
