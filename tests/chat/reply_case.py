"""A reply of a model and what it says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

KOELN: dict[str, Any] = {"city": "Köln"}
CALL = '{"name": "get_weather", "arguments": {"city": "Köln"}}'
WEATHER = ("get_weather", KOELN)


@dataclass(frozen=True)
class Case:
    """A reply of a family that shows `sign` in its template, and what it says."""

    name: str
    sign: str
    text: str
    content: str = ""
    reasoning: str = ""
    calls: tuple[tuple[str, dict[str, Any]], ...] = ()
    prompt: str = ""
    ids: tuple[str, ...] = ()
