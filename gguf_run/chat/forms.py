"""What replies look like, by what a template says of them."""

from __future__ import annotations

from dataclasses import dataclass

from gguf_run.chat.tool_syntax import HERMES, TOOL_SYNTAXES, ToolSyntax

_REASONING = (
    ("<seed:think>", "</seed:think>"),
    ("[THINK]", "[/THINK]"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|inner_prefix|>", "<|inner_suffix|>"),
    ("<thought>", "</thought>"),
    ("<mm:think>", "</mm:think>"),
    ("<|channel>thought", "<channel|>"),
    ("<think>", "</think>"),
)
# By a text that templates of the family have: Granite, Hunyuan.
_ANSWER_TAGS = {
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
        reasoning = next((pair for pair in _REASONING if pair[1] in source), None)
        answers = [tags for sign, tags in _ANSWER_TAGS.items() if sign in source and reasoning]
        tools = next((syntax for syntax in TOOL_SYNTAXES if syntax.sign in source), HERMES)
        return cls(reasoning=reasoning, tools=tools, silent=answers[0] if answers else ())
