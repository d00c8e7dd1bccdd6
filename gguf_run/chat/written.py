"""How model families spell tool calls out, for grammars that bind them."""

from __future__ import annotations

import re
from dataclasses import dataclass

_PLACEHOLDER = re.compile(r"\{(name|arguments|key|value|is_text|index|id|space)\}")


@dataclass(frozen=True, slots=True)
class Written:
    """How a family spells calls.

    Attributes:
        call: one of them; `{name}` is the function, `{arguments}` all its arguments, `{index}` a
            number and `{id}` nine letters and digits that tell calls apart; `{space}`, here and
            below, is some or none.
        around: before the first call and after the last.
        between: between two calls; None: there is never more than one.
        argument: one argument, `{key}` and `{value}`, `{is_text}` being whether it is a string;
            empty: `{arguments}` is a JSON object.
        joint: between two arguments.
        quoted: whether values that are strings are JSON; else they stand as they are.
    """

    call: str
    around: tuple[str, str] = ("", "")
    between: str | None = "\n"
    argument: str = ""
    joint: str = ""
    quoted: bool = False

    @property
    def trigger(self) -> str:
        """What every text of calls begins with."""
        return parts_of(self.around[0] + self.call)[0]


def parts_of(text: str) -> list[str]:
    """A text cut at its placeholders: texts at even places, names of placeholders at odd ones."""
    return _PLACEHOLDER.split(text)


def in_json(name: str = "name", arguments: str = "arguments", more: str = "") -> str:
    """A call that is a JSON object of a name and arguments."""
    return f'{{"{name}": "{{name}}", "{arguments}": {{arguments}}{more}}}'


def listed(before: str, after: str, call: str = in_json()) -> Written:
    """Calls in a JSON list."""
    return Written(call, (f"{before}{{space}}[{{space}}", f"{{space}}]{after}"), ",{space}")
