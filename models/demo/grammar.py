"""The template language of the story grammar.

    [red|blue|]     one of the alternatives, at random; they nest, and one may be empty
    <happy>         an alternative of the rule "@happy"
    {a.his}         a slot: a form of one of the story's people or things (see cast.py)
    ^               the next letter is a capital (after !" and ?" the text alone does not tell)

A grammar file is a list of sections: "@name options", then lines. "#" starts a comment line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Protocol, TypeAlias

GRAMMAR = Path(__file__).parent / "grammar"

_SIGNS = re.compile(r"[\[\]|]|<\w+>|\{\w+(?:\.\w+)?\}")


@dataclass(frozen=True, slots=True)
class Pick:
    """One of several templates."""

    options: tuple[Template, ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """A named list of templates."""

    name: str


@dataclass(frozen=True, slots=True)
class Slot:
    """A form of somebody or something in the story."""

    who: str
    form: str


Template: TypeAlias = "tuple[str | Pick | Rule | Slot, ...]"


@dataclass(frozen=True, slots=True)
class Section:
    """A section of a grammar file: its name, the rest of its head line, its body's lines."""

    name: str
    options: str
    lines: tuple[str, ...]

    def blocks(self) -> list[tuple[str, ...]]:
        """The lines, grouped by the empty lines between them."""
        groups: list[list[str]] = [[]]
        for line in self.lines:
            if line:
                groups[-1].append(line)
            elif groups[-1]:
                groups.append([])
        return [tuple(group) for group in groups if group]


def read_sections(file: str) -> Iterator[Section]:
    """The sections of one grammar file, in order."""
    name, options, lines = "", "", list[str]()
    for raw in (GRAMMAR / file).read_text(encoding="utf-8").splitlines():
        line = raw.strip()
        if line.startswith("#"):
            continue
        if not line.startswith("@"):
            lines.append(line)
            continue
        if name:
            yield Section(name, options, tuple(lines))
        name, _, options = line[1:].partition(" ")
        lines = []
    yield Section(name, options, tuple(lines))


def parse(text: str) -> Template:
    """Template of a line; ValueError where its brackets do not close."""
    stack: list[list[list[str | Pick | Rule | Slot]]] = [[[]]]
    at = 0
    for match in _SIGNS.finditer(text):
        if match.start() > at:
            stack[-1][-1].append(text[at : match.start()])
        at = match.end()
        sign = match.group()
        if sign == "[":
            stack.append([[]])
        elif sign == "|":
            stack[-1].append([])
        elif sign == "]":
            options = stack.pop()
            if not stack:
                break
            stack[-1][-1].append(Pick(tuple(tuple(option) for option in options)))
        elif sign[0] == "<":
            stack[-1][-1].append(Rule(sign[1:-1]))
        else:
            who, _, form = sign[1:-1].partition(".")
            stack[-1][-1].append(Slot(who, form))
    if len(stack) != 1 or len(stack[0]) != 1:
        raise ValueError(f"brackets or bars that do not match in the template {text!r}")
    if at < len(text):
        stack[0][0].append(text[at:])
    return tuple(stack[0][0])


def read_rules(file: str) -> dict[str, tuple[Template, ...]]:
    """The rules of a grammar file: name -> alternatives."""
    return {s.name: tuple(parse(line) for line in s.lines if line) for s in read_sections(file)}


class Forms(Protocol):
    """What fills slots: `form("a", "his")` -> "her"."""

    def form(self, who: str, form: str) -> str: ...


def expand(
    template: Template, rules: dict[str, tuple[Template, ...]], rng: Random, forms: Forms
) -> str:
    """Text of a template. Slots are filled from left to right: first mentions read otherwise."""
    out: list[str] = []
    for node in template:
        if isinstance(node, str):
            out.append(node)
        elif isinstance(node, Slot):
            out.append(forms.form(node.who, node.form))
        else:
            options = node.options if isinstance(node, Pick) else rules[node.name]
            out.append(expand(rng.choice(options), rules, rng, forms))
    return "".join(out)


_ARTICLE = re.compile(r"\b([Aa]) (?=[aeiouAEIOU])")
_SENTENCE = re.compile(r"(?:^|[.!?] |\." + r'" |\^)"?[a-z]')


def polish(text: str) -> str:
    """`a` before a vowel becomes `an`; sentences and what follows "^" start with a capital."""
    text = _ARTICLE.sub(r"\1n ", text)
    return _SENTENCE.sub(lambda m: m.group()[:-1] + m.group()[-1].upper(), text).replace("^", "")
