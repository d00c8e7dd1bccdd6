"""Little stories from a grammar: the text that the demo model learns from.

A story is an opening, a plot (grammar/plots*.txt) whose beats each take one of several sentences,
and a closing. `story(seed, index)` is a pure function: any part of the corpus can be made alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from .cast import Cast
from .grammar import Rule, Template, expand, parse, polish, read_rules, read_sections

SKIP = "-"


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot: who helps the hero (a slot's letter), where it happens, its beats' alternatives."""

    name: str
    helper: str
    outside: bool
    beats: tuple[tuple[Template, ...], ...]


def _read_plots(*files: str) -> tuple[Plot, ...]:
    return tuple(
        Plot(
            section.name,
            section.options[2],  # "x=b outside"
            section.options.endswith("outside"),
            tuple(
                tuple(() if line == SKIP else parse(line) for line in beat)
                for beat in section.blocks()
            ),
        )
        for file in files
        for section in read_sections(file)
    )


RULES = read_rules("rules.txt")
PLOTS = _read_plots("plots1.txt", "plots2.txt", "plots3.txt")


def _beats(rng: Random, plot: Plot) -> tuple[list[Template], str]:
    """The story's templates in order, and the rule of the words that open its plot."""
    draw = rng.random()
    opening: list[Template]
    if draw < 0.2:
        opening, when = [], "oneday"
    elif draw < 0.45:
        opening, when = [(Rule("start"),)], "later"
    else:
        opening, when = [(Rule("opening"),)], "oneday"
        if rng.random() < 0.7:
            opening.append((Rule("more"),))
    beats = [rng.choice(beat) for beat in plot.beats]
    if plot.outside and rng.random() < 0.4:
        beats.insert(1, (Rule("detail"),))
    friendly = plot.helper in "bcd" and rng.random() < 0.5
    beats.append((Rule("friends" if friendly else "closing"),))
    if rng.random() < 0.15:
        beats.append((Rule("end"),))
    return [beat for beat in opening + beats if beat], when


def story(seed: int, index: int) -> str:
    """The story of that number: one line, or several paragraphs with an empty line between."""
    rng = Random(f"{seed}/{index}")
    plot = rng.choice(PLOTS)
    beats, when = _beats(rng, plot)
    cast = Cast(rng, plot.helper, "")
    cast = Cast(rng, plot.helper, expand(rng.choice(RULES[when]), RULES, rng, cast))
    parts = [polish(expand(beat, RULES, rng, cast)) for beat in beats]
    if rng.random() < 0.65:
        return " ".join(parts)
    text = parts[0]
    for part in parts[1:]:
        text += ("\n\n" if rng.random() < 0.4 else " ") + part
    return text


def stories(seed: int, start: int, count: int) -> Iterator[str]:
    """Stories number `start` to `start + count - 1`."""
    return (story(seed, index) for index in range(start, start + count))
