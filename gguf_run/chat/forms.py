"""What replies look like, by what a template says of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from gguf_run.chat.tool_syntax import HERMES, TOOL_SYNTAXES, ToolSyntax

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
_HARMONY = ("<|start|>", "<|channel|>", "<|message|>")


@dataclass(frozen=True, slots=True)
class ReplyForm:
    """What the replies of a family look like.

    Attributes:
        harmony: they are messages in channels, and the rest does not apply.
        reasoning: the marks around reasoning, or None.
        tools: how tool calls are written; what most models learn, where a template says nothing.
        silent: marks that say nothing.
    """

    harmony: bool = False
    reasoning: tuple[str, str] | None = None
    tools: ToolSyntax = HERMES
    silent: tuple[str, ...] = ()

    @classmethod
    def of(cls, source: str) -> ReplyForm:
        """The form that a template (its Jinja text) speaks of."""
        if all(mark in source for mark in _HARMONY):
            return cls(harmony=True)
        reasoning = _first(_REASONING_BY_SIGN, source) or next(
            (pair for pair in _REASONING if pair[1] in source), None
        )
        silent = _first(_SILENT, source)
        if silent is None and reasoning is not None:
            silent = _first(_SILENT_BESIDE_REASONING, source)
        tools = next((syntax for syntax in TOOL_SYNTAXES if syntax.sign in source), HERMES)
        return cls(reasoning=reasoning, tools=tools, silent=silent or ())


def _first(by_sign: Mapping[str, T], source: str) -> T | None:
    """What stands under the first sign that is in a template."""
    return next((value for sign, value in by_sign.items() if sign in source), None)
