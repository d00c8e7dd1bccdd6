"""`ReplyParser`: a model's text to content, reasoning and tool calls, as it comes.

What families write is found in their templates (`ReplyForm.of`). A piece of a mark is never shown;
what looks like a call and is none is content; no text is lost.
"""

from __future__ import annotations

import secrets
import string
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gguf_run.chat.forms import ReplyForm
from gguf_run.chat.harmony import HarmonyParser
from gguf_run.chat.reply import Delta, ToolCall
from gguf_run.chat.tagged import TaggedParser
from gguf_run.chat.tool_bodies import RawCall, types_of


def new_call_id() -> str:
    """An id for a call: nine letters and digits, which is what Mistral's templates want."""
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(9))


class ReplyParser:
    """Takes a reply apart while it comes.

    Feed it the text with control tokens spelt out, those that end a generation left away.
    """

    def __init__(
        self,
        form: ReplyForm,
        prompt: str = "",
        tools: Sequence[Mapping[str, Any]] | None = None,
        new_id: Callable[[], str] = new_call_id,
    ) -> None:
        """Args:
        form: what replies look like.
        prompt: the text that the model continues; it may begin the reasoning.
        tools: the functions that may be called; without any, nothing is a call.
        new_id: makes ids for calls that have none.
        """
        self._new_id = new_id
        self._parser: HarmonyParser | TaggedParser
        if form.harmony:
            self._parser = HarmonyParser(prompt, self._call)
        else:
            syntax = form.tools if tools else None
            types = types_of(tools or ())
            self._parser = TaggedParser(form, syntax, types, prompt, self._call)

    def push(self, text: str) -> list[Delta]:
        """What is known now that `text` has come."""
        return self._parser.push(text)

    def finish(self) -> list[Delta]:
        """The rest, when no more comes; a call that is cut off in its middle is content."""
        return self._parser.finish()

    def _call(self, raw: RawCall) -> Delta:
        call = ToolCall(raw.name, raw.arguments, raw.id or self._new_id())
        return Delta("tool_call", call=call)
