"""A picture of where time goes, as SVG: one bar of all parts, and below it a line a part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, MARGIN, LINE = 960, 20, 24
TOP, STACK = 64, 34
NAMES, BARS = 300, 330
"""Widths of a line's name and bar; the note has the rest."""

COLOURS = ("#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#3ca951", "#ff8ab7", "#a463f2", "#97bbf5")
GREY = "#9c9c9c"


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the whole: seconds, those of them that memory or arithmetic must take at least
    (None: not known), and what is said beside its bar."""

    name: str
    seconds: float
    least: float | None
    note: str


def as_svg(title: str, subtitle: str, parts: Sequence[Part]) -> str:
    """The picture; the first parts have colours of their own, those after them are grey."""
    total = sum(part.seconds for part in parts) or 1.0
    longest = max((part.seconds for part in parts), default=0.0) or 1.0
    height = TOP + STACK + 20 + LINE * (len(parts) + 1) + MARGIN
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
        f'height="{height}" font-family="system-ui, sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        _text(MARGIN, 26, title, 'font-size="17" font-weight="bold"'),
        _text(MARGIN, 48, subtitle, 'fill="#555"'),
        *_stack(parts, total),
    ]
    for i, part in enumerate(parts):
        lines += _line(part, _colour(i), TOP + STACK + 20 + LINE * i, longest)
    if any(part.least is not None for part in parts):
        lines += _legend(TOP + STACK + 20 + LINE * len(parts))
    return "\n".join([*lines, "</svg>"]) + "\n"


def _stack(parts: Sequence[Part], total: float) -> list[str]:
    """All parts side by side, over the whole width."""
    found, x = [], float(MARGIN)
    for i, part in enumerate(parts):
        width = (WIDTH - 2 * MARGIN) * part.seconds / total
        found.append(_rect(x, TOP, width, STACK, _colour(i)))
        share = f"{part.seconds / total:.0%}"
        if width > 36:
            style = 'fill="white" font-weight="bold" text-anchor="middle"'
            found.append(_text(x + width / 2, TOP + STACK / 2 + 5, share, style))
        x += width
    return found


def _line(part: Part, colour: str, y: float, longest: float) -> list[str]:
    """A part's name, its time as a bar with the least that it must take drawn darker, its note."""
    x = MARGIN + NAMES
    found = [
        _rect(MARGIN, y + 5, 12, 12, colour),
        _text(MARGIN + 20, y + 16, _cut(part.name)),
        _rect(x, y + 4, BARS * part.seconds / longest, LINE - 8, colour),
    ]
    if part.least is not None:
        least = min(part.least, part.seconds)
        dark = 'fill-opacity="0.35"'
        found.append(_rect(x, y + 4, BARS * least / longest, LINE - 8, "black", dark))
    found.append(_text(x + BARS + 10, y + 16, part.note, 'fill="#555"'))
    return found


def _legend(y: float) -> list[str]:
    x, dark = MARGIN + NAMES, 'fill-opacity="0.35"'
    note = "the least that reading its bytes, or its products, must take"
    return [
        _rect(x, y + 8, 20, 10, GREY),
        _rect(x, y + 8, 20, 10, "black", dark),
        _text(x + 28, y + 17, note, 'fill="#555"'),
    ]


def _colour(i: int) -> str:
    return COLOURS[i] if i < len(COLOURS) else GREY


def _cut(name: str) -> str:
    return name if len(name) <= 42 else name[:41] + "…"


def _rect(x: float, y: float, width: float, height: float, fill: str, style: str = "") -> str:
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" '
        f'fill="{fill}" {style}'.rstrip()
        + "/>"
    )


def _text(x: float, y: float, text: str, style: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}'.rstrip() + f">{escape(text)}</text>"
