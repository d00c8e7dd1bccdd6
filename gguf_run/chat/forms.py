"""What replies look like, by what a template says of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from gguf_run.chat.tool_bodies import json_calls
from gguf_run.chat.tool_families import HERMES, TOOL_SYNTAXES
from gguf_run.chat.tool_syntax import ToolSyntax
from gguf_run.chat.written import Written

T = TypeVar("T")

_REASONING = (
    ("<seed:think>", "</seed:think>"),
    ("[THINK]", "[/THINK]"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|inner_prefix|>", "<|inner_suffix|>"),
    ("<thought>", "</thought>"),
    ("<mm:think>", "</mm:think>"),
    ("<|channel>thought", "<channel|>"),
    ("<|think:start|>", "<|think:end|>"),
    ("<think:opensource>", "</think:opensource>"),
    ("<longcat_think>", "</longcat_think>"),
    ("<think>", "</think>"),
)
# By another text that templates of the family have: Kimi K3, Solar Open.
_REASONING_BY_SIGN = {
    "<|open|>": ("<|open|>think<|sep|>", "<|close|>think<|sep|>"),
    "<|tool_call:begin|>": ("<|think|>", "<|end|>"),
}
# Marks that say nothing, by a text that templates of the family have: Kimi K3, Solar Open,
# functionary, Granite, Hunyuan.
_SILENT = {
    "<|open|>": ("<|open|>response<|sep|>", "<|close|>response<|sep|>"),
    "<|tool_call:begin|>": ("<|begin|>assistant", "<|content|>", "<|flush|>", "<|end|>"),
    ">>>all": (">>>all\n",),
}
_SILENT_BESIDE_REASONING = {
    "<|start_of_role|>": ("<response>", "</response>"),
    "<|extra_0|>": ("<answer>", "</answer>"),
    "hy_Assistant": ("<answer>", "</answer>"),
}
# Kimi K3, Solar Open, functionary, Command-R7B.
_CONTENT = {
    "<|open|>": ("<|open|>response<|sep|>", "<|close|>response<|sep|>"),
    "<|tool_call:begin|>": ("<|begin|>assistant<|content|>", ""),
    ">>>all": (">>>all\n", ""),
    "<|START_ACTION|>": ("<|START_RESPONSE|>", "<|END_RESPONSE|>"),
}
_HARMONY_CALLS = ToolSyntax(
    "<|channel|>",
    "<|channel|>commentary to=",
    "<|call|>",
    json_calls,
    written=Written(
        "<|channel|>commentary to=functions.{name} <|constrain|>json<|message|>{arguments}",
        between=None,
    ),
)
_HARMONY = ("<|start|>", "<|channel|>", "<|message|>")


@dataclass(frozen=True, slots=True)
class ReplyForm:
    """What the replies of a family look like.

    Attributes:
        harmony: they are messages in channels.
        reasoning: the marks around reasoning, or None.
        tools: how tool calls are written; what most models learn, where a template says nothing.
        silent: marks that say nothing.
        content: marks around content that must be there.
    """

    harmony: bool = False
    reasoning: tuple[str, str] | None = None
    tools: ToolSyntax = HERMES
    silent: tuple[str, ...] = ()
    content: tuple[str, str] = ("", "")

    @classmethod
    def of(cls, source: str) -> ReplyForm:
        """The form that a template (its Jinja text) speaks of."""
        if all(mark in source for mark in _HARMONY):
            return cls(
                harmony=True,
                reasoning=("<|channel|>analysis<|message|>", "<|end|><|start|>assistant"),
                tools=_HARMONY_CALLS,
                content=("<|channel|>final<|message|>", ""),
            )
        reasoning = _first(_REASONING_BY_SIGN, source) or next(
            (pair for pair in _REASONING if pair[1] in source), None
        )
        silent = _first(_SILENT, source)
        if silent is None and reasoning is not None:
            silent = _first(_SILENT_BESIDE_REASONING, source)
        tools = next(
            (each for each in TOOL_SYNTAXES if each.sign in source and each.beside in source),
            HERMES,
        )
        content = _first(_CONTENT, source) or ("", "")
        return cls(reasoning=reasoning, tools=tools, silent=silent or (), content=content)


def _first(by_sign: Mapping[str, T], source: str) -> T | None:
    """What stands under the first sign that is in a template."""
    return next((value for sign, value in by_sign.items() if sign in source), None)
