"""`tool_choice` of OpenAI's API: which tools a reply may, or must, call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gguf_run.chat import ReplyForm
from gguf_run.errors import ModelError
from gguf_run.structured.replies import ReplyPlan
from gguf_run.structured.tool_calls import function_of

Tools = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """What a reply may call.

    Attributes:
        shown: the tools that the model is told of; None: none.
        bound: those whose calls follow their schemas; empty: calls are what the model writes.
        must_call: whether the reply is a call.
        several: whether it may have more than one.
    """

    shown: Tools | None
    bound: Tools
    must_call: bool
    several: bool

    @classmethod
    def of(cls, tools: Tools | None, choice: str | Mapping[str, Any], several: bool) -> ToolChoice:
        """The choice among some tools.

        Raises:
            ModelError: it is none of the API's, or names a tool that there is not.
        """
        if choice == "none":
            return cls(None, (), False, several)
        if choice == "auto":
            strict = any(_is_strict(tool) for tool in tools or ())
            return cls(tools, tools or () if strict or not several else (), False, several)
        if choice == "required" and tools:
            return cls(tools, tools, True, several)
        named = choice.get("function") if isinstance(choice, Mapping) else None
        name = named.get("name") if isinstance(named, Mapping) else None
        found = [tool for tool in tools or () if function_of(tool)[0] == name]
        if not found:
            raise ModelError(
                'tool_choice: expected "auto", "none", "required" or {"type": "function", '
                f'"function": {{"name": ...}}}} of one of the tools, found {choice!r:.100}'
            )
        return cls(tools, found, True, several)

    def plan(self, form: ReplyForm, prompt: str) -> ReplyPlan:
        """What binds the reply to a prompt."""
        return ReplyPlan(form, prompt, self.bound, self.must_call, self.several)


def _is_strict(tool: Mapping[str, Any]) -> bool:
    function = tool.get("function", tool)
    return isinstance(function, Mapping) and function.get("strict") is True
