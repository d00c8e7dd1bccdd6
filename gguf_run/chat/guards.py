"""What filters and methods of a template would cost, asked for before they run.

Most take what they are given and make about as much of it. Those listed here can make far more, or
take far longer: each has a check that computes a bound from the arguments.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from jinja2.sandbox import SandboxedEnvironment, SandboxedFormatter

from gguf_run.chat.limits import LimitError, Meter

Check = Callable[..., None]

MAX_WIDTH = 1000
"""Of a field in a format, of an indent, of digits to round to."""
MAX_SLOW_CHARS = 20_000
"""Input of filters that take quadratic time."""
MAX_NUMBER_CHARS = 1000
MAX_FORMAT_CHARS = 100_000
MAX_SPEC_CHARS = 100
MAX_PAIRS = 1 << 27
"""Pairs of characters that one operation may compare."""


def names(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())


_PERCENT = re.compile(r"%(?:\([^()]*\))?[-+ #0]*(\*|\d*)(?:\.(\*|\d*))?[hlL]?(.?)", re.DOTALL)
_DIGITS = re.compile(r"\d+")
_SPACES = "\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(
    map(chr, range(0x2000, 0x200B))
)


def _width(meter: Meter, width: Any) -> None:
    if abs(int(width)) > MAX_WIDTH:
        raise LimitError(f"asks for a width of {width!s:.30}, more than {MAX_WIDTH}")


def _replace(meter: Meter, text: Any, old: Any, new: Any, count: Any = None) -> None:
    text, old, new = str(text), str(old), str(new)
    n = text.count(old)
    if count is not None and int(count) >= 0:
        n = min(n, int(count))
    meter.room(len(text) + n * max(0, len(new) - len(old)))


def _items(meter: Meter, value: Any, *args: Any, **kwargs: Any) -> None:
    if hasattr(value, "__len__"):
        meter.items(len(value))


def _join(meter: Meter, value: Iterable[Any], d: Any = "", attribute: Any = None) -> None:
    _items(meter, value)
    items = list(value)
    meter.room(meter.whole(items)[0] + len(items) * len(str(d)))


def _indent(
    meter: Meter, text: Any, width: Any = 4, first: Any = False, blank: Any = False
) -> None:
    n = len(width) if isinstance(width, str) else int(width)
    text = str(text)
    meter.room(len(text) + (_n_lines(meter, text) + 1) * max(0, n))


def _n_lines(meter: Meter, text: str) -> int:
    """At least as many as `str.splitlines` makes; their characters are all whitespace."""
    n = len(text) if len(text) < MAX_SLOW_CHARS else 1 + sum(map(text.count, _SPACES))
    meter.items(n)
    return n


def _rows(meter: Meter, value: Any, n: Any, fill_with: Any = None) -> None:
    _items(meter, value)
    meter.items(int(n))


def _round(meter: Meter, value: Any, precision: Any = 0, method: Any = "common") -> None:
    _width(meter, precision)


def _number(meter: Meter, value: Any, *args: Any, **kwargs: Any) -> None:
    if isinstance(value, str) and len(value) > MAX_NUMBER_CHARS:
        raise LimitError(f"reads a number of {len(value)} digits, more than {MAX_NUMBER_CHARS}")


def _sum(meter: Meter, value: Iterable[Any], attribute: Any = None, start: Any = 0) -> None:
    _items(meter, value)
    items = list(value)
    if not isinstance(start, (int, float)):
        meter.items(len(items) * (1 + meter.whole(items)[0]) // 64)


def _trim(meter: Meter, text: Any, chars: Any = None) -> None:
    _pairs(text, chars)


def _pairs(text: Any, other: Any) -> None:
    """Some searches take the product of both lengths, in the worst case."""
    if isinstance(text, str) and isinstance(other, str) and len(text) * len(other) > MAX_PAIRS:
        raise LimitError(f"searches for {len(other)} in {len(text)} characters")


def _slow(meter: Meter, *args: Any, **kwargs: Any) -> None:
    chars = meter.whole([*args, *kwargs.values()])[0]
    if chars > MAX_SLOW_CHARS:
        raise LimitError(f"gives {chars} characters to a filter that takes {MAX_SLOW_CHARS}")


def _json(
    meter: Meter,
    value: Any,
    ensure_ascii: Any = False,
    indent: Any = None,
    separators: Any = None,
    sort_keys: Any = False,
) -> None:
    chars, depth = meter.whole(value)
    n = len(indent) if isinstance(indent, str) else int(indent or 0)
    n = max(0, n) * (depth + 1) + sum(map(len, separators or ()))
    meter.room(chars * (1 + n))


def format_length(text: str) -> None:
    """Refuse formats that no one writes."""
    if len(text) > MAX_FORMAT_CHARS:
        raise LimitError(f"formats by a text of {len(text)} characters")


def percent(meter: Meter, text: str, values: object) -> None:
    """`text % values`."""
    format_length(text)
    n_chars = meter.whole(values)[0]
    total = len(text)
    for width, precision, kind in _PERCENT.findall(text):
        if "*" in (width, precision) or kind == "(":
            raise LimitError("formats with a computed width or a nested name")
        for digits in (width, precision):
            _width(meter, digits[:9] or 0)
        total += n_chars + int(width or 0) + int(precision or 0)
    meter.room(total)


def _percent_filter(meter: Meter, text: Any, *args: Any, **kwargs: Any) -> None:
    percent(meter, str(text), kwargs or args)


FILTER_CHECKS: Mapping[str, Check] = {
    **dict.fromkeys(
        names("groupby list map max min reject rejectattr select selectattr sort unique"), _items
    ),
    "batch": _rows,
    "center": lambda meter, value, width=80: meter.room(int(width)),
    "float": _number,
    "format": _percent_filter,
    "indent": _indent,
    "int": _number,
    "join": _join,
    "pprint": _slow,
    "replace": _replace,
    "round": _round,
    "slice": _rows,
    "striptags": _slow,
    "sum": _sum,
    "title": _slow,
    "tojson": _json,
    "trim": _trim,
    "urlize": _slow,
    "wordcount": _slow,
    "wordwrap": _slow,
    "xmlattr": _slow,
}
SHALLOW_FILTERS = names(
    "attr count d default first items last length list map reject rejectattr reverse safe select "
    "selectattr"
)
"""Filters that don't look into the parts of what they are given."""
CONSUMING = names("groupby in join list max min sort sum tojson unique")
"""Filters and tests that run through an iterator, so that what it gives is looked at before."""
COMPARING_TESTS = names("in == eq equalto != ne > gt greaterthan ge >= < lt lessthan <= le")


def _pad(meter: Meter, text: str, width: Any, fill: Any = " ") -> None:
    meter.room(int(width))


def _expand_tabs(meter: Meter, text: str, tabsize: Any = 8) -> None:
    meter.room(len(text) + text.count("\t") * max(0, int(tabsize)))


def _split(meter: Meter, text: str, sep: Any = None, maxsplit: Any = -1) -> None:
    _pairs(text, sep)
    if isinstance(sep, str):
        meter.items(1 + text.count(sep))
    else:
        _n_lines(meter, text)


def _search(meter: Meter, text: str, other: Any = None, *bounds: Any) -> None:
    _pairs(text, other)


def _lines(meter: Meter, text: str, keepends: Any = False) -> None:
    _n_lines(meter, text)


TEXT_METHODS: Mapping[str, Check | None] = {
    **dict.fromkeys(
        names(
            "capitalize casefold count endswith find format format_map index isalnum isalpha "
            "isascii isdecimal isdigit isidentifier islower isnumeric isprintable isspace istitle "
            "isupper lower partition removeprefix removesuffix "
            "startswith swapcase title upper"
        )
    ),
    **dict.fromkeys(names("lstrip rfind rindex rpartition rstrip strip"), _search),
    "center": _pad,
    "expandtabs": _expand_tabs,
    "join": lambda meter, text, items: _join(meter, items, text),
    "ljust": _pad,
    "replace": _replace,
    "rjust": _pad,
    "rsplit": _split,
    "split": _split,
    "splitlines": _lines,
    "zfill": _pad,
}
"""Methods of texts that templates may call, and the checks of some."""


class BoundedFormatter(SandboxedFormatter):
    """`str.format` whose fields are read through the sandbox, and whose text stays in bounds."""

    def __init__(self, environment: SandboxedEnvironment, meter: Meter) -> None:
        super().__init__(environment)
        self._meter = meter
        self._total = 0

    def convert_field(self, value: Any, conversion: Any) -> Any:
        """The value by `!r` and the like."""
        self._meter.whole(value)
        return super().convert_field(value, conversion)

    def format_field(self, value: Any, format_spec: str) -> Any:
        """The value as its format after the colon says."""
        self._meter.step()
        self._meter.whole(value)
        if len(format_spec) > MAX_SPEC_CHARS:
            raise LimitError(f"formats by {len(format_spec)} characters behind a colon")
        for digits in _DIGITS.findall(format_spec):
            _width(self._meter, digits[:9])
        text = super().format_field(value, format_spec)
        self._total += len(text)
        self._meter.room(self._total)
        return text
