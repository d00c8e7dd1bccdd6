"""What templates work with beside plain values, and what they may read of each kind of value."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from jinja2.exceptions import SecurityError, TemplateError
from jinja2.runtime import BlockReference, LoopContext, Macro
from jinja2.sandbox import SandboxedEnvironment
from jinja2.utils import Cycler, Namespace

from gguf_run.chat.guards import TEXT_METHODS, BoundedFormatter, format_length, names
from gguf_run.chat.limits import Meter

ATTRIBUTES: tuple[tuple[type, frozenset[str]], ...] = (
    (str, frozenset(TEXT_METHODS)),
    (dict, names("copy get items keys values")),
    (list, names("copy count index")),
    (tuple, names("count index grouper list")),
    (float, names("is_integer")),
    (range, names("count index start step stop")),
    (
        LoopContext,
        names(
            "changed cycle depth depth0 first index index0 last length nextitem previtem revindex "
            "revindex0"
        ),
    ),
    (Macro, names("arguments caller catch_kwargs catch_varargs name")),
    (Cycler, names("current next reset")),
    (BlockReference, names("super")),
)
"""What templates may read of values, by their type."""


class RaisedByTemplate(TemplateError):
    """A template called `raise_exception`."""


class TextFormat:
    """`text.format`, in bounds."""

    def __init__(
        self, text: str, environment: SandboxedEnvironment, meter: Meter, from_map: bool
    ) -> None:
        self._text = text
        self._environment = environment
        self._meter = meter
        self._from_map = from_map

    def __call__(self, *args: Any, **kwargs: Any) -> str:
        if type(self._text) is not str:
            raise SecurityError("format() of a text that is marked as safe")
        if self._from_map:
            args, kwargs = (), *args
        format_length(self._text)
        formatter = BoundedFormatter(self._environment, self._meter)
        return formatter.vformat(self._text, args, kwargs)


class TemplateNamespace(Namespace):
    """A namespace without names that begin with an underscore."""

    def __init__(*args: Any, **kwargs: Any) -> None:
        # As in Jinja, so that `namespace(self=...)` works.
        self, args = args[0], args[1:]
        attrs = dict(*args, **kwargs)
        for name in attrs:
            _check_public(name)
        Namespace.__init__(self, attrs)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_public(name)
        Namespace.__setitem__(self, name, value)

    def __repr__(self) -> str:
        return "<Namespace>"


def _check_public(name: object) -> None:
    if not isinstance(name, str) or name.startswith("_"):
        raise SecurityError(f"a namespace can't hold {name!r:.50}")


class Each:
    """The items of a loop, a step each; it has a length where they have one."""

    def __init__(self, meter: Meter, items: Iterable[Any]) -> None:
        self._meter = meter
        self._items = items

    def __iter__(self) -> Iterator[Any]:
        return self._meter.each(self._items)

    def __len__(self) -> int:
        return len(self._items)  # type: ignore[arg-type]


def tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | str | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """JSON as `json.dumps` writes it; Jinja's own filter would escape it for HTML."""
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )
