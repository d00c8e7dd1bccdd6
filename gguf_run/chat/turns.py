"""Templates that write each message between fixed texts, as most families do."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

_VALUES = {
    "{content}": "content",
    "{stripped}": "content | trim",
    "{between}": "between if shown.any else ''",
}
_USER_VALUES = {
    **_VALUES,
    "{content}": "shown.held ~ content",
    "{stripped}": "shown.held ~ content | trim",
}
_PLACEHOLDER = re.compile(f"({'|'.join(map(re.escape, _VALUES))})")


@dataclass(frozen=True, slots=True)
class Turns:
    """How a family writes its turns.

    In the texts `{content}` is what the message says, `{stripped}` the same without whitespace
    around it, and `{between}` the text of that name, left out before the first turn.

    Attributes:
        system, user, assistant: a message of that role; roles that are none of these are users.
        generation: what the model continues.
        fold: instead of `system`: how a system message goes in front of what the user says next.
        start: before all turns.
        default_system: a system message where the conversation does not begin with one.
    """

    system: str = ""
    user: str = ""
    assistant: str = ""
    generation: str = ""
    fold: str = ""
    start: str = ""
    between: str = ""
    default_system: str | None = None

    def jinja(self) -> str:
        """The Jinja template that writes these turns."""
        head = f"{{%- set between = {_quoted(self.between)} -%}}" if self.between else ""
        if self.start:
            head += f"{{{{- {_quoted(self.start)} -}}}}"
        if self.default_system is not None:
            head += (
                "{%- if messages[0].role != 'system' -%}"
                f"{{%- set content = {_quoted(self.default_system)} -%}}"
                f"{_written(self.system)}{{%- endif -%}}"
            )
        system = f"{_written(self.system)}{{%- set shown.any = true -%}}"
        if self.fold:
            system = f"{{%- set shown.held = {_expression(self.fold)} -%}}"
        return _TURNS % {
            "head": head,
            "system": system,
            "assistant": _written(self.assistant),
            "user": _written(self.user, _USER_VALUES),
            "generation": _written(self.generation),
        }


_TURNS = """\
{%%- set shown = namespace(any=false, held='') -%%}
%(head)s
{%%- for message in messages -%%}
{%%- set content = message.content or '' -%%}
{%%- if message.role in ('system', 'developer') -%%}
%(system)s
{%%- elif message.role == 'assistant' -%%}
%(assistant)s
{%%- set shown.any = true -%%}
{%%- else -%%}
%(user)s
{%%- set shown.held = '' -%%}
{%%- set shown.any = true -%%}
{%%- endif -%%}
{%%- endfor -%%}
{%%- if add_generation_prompt -%%}
%(generation)s
{%%- endif -%%}
"""


def _quoted(text: str) -> str:
    """A text as Jinja writes it in code."""
    return json.dumps(text, ensure_ascii=False)


def _expression(form: str, values: Mapping[str, str] = _VALUES) -> str:
    parts = [part for part in _PLACEHOLDER.split(form) if part]
    return " ~ ".join(f"({values[p]})" if p in values else _quoted(p) for p in parts)


def _written(form: str, values: Mapping[str, str] = _VALUES) -> str:
    return f"{{{{- {_expression(form, values)} -}}}}" if form else ""
