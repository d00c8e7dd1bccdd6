"""`ToolSyntax`: where tool calls begin and end in a reply, and what they say."""

from __future__ import annotations

from dataclasses import dataclass

from gguf_run.chat.tool_bodies import Parse
from gguf_run.chat.written import Written


@dataclass(frozen=True, slots=True)
class ToolSyntax:
    """How one family writes calls.

    Attributes:
        sign: a text that templates of the family have.
        open: begins a call; empty: an answer that is a JSON object is a call.
        close: ends it; empty: it ends with its JSON value.
        parse: the calls in the text between; empty: it says none.
        silent: marks around calls and content that say nothing.
        written: how to spell calls; None: they can't be bound to a grammar.
        beside: another text that templates of the family have.
    """

    sign: str
    open: str
    close: str
    parse: Parse
    silent: tuple[str, ...] = ()
    written: Written | None = None
    beside: str = ""
