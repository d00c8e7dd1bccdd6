"""Structured output: texts that follow a GBNF grammar, a JSON schema or a regular expression.

`factory.ConstraintFactory` makes the constraints.
"""

from typing import TYPE_CHECKING

from gguf_run.lazy import lazily

if TYPE_CHECKING:
    from gguf_run.structured.budget import ReasoningBudget
    from gguf_run.structured.constraint import Constraint
    from gguf_run.structured.drawer import Drawer
    from gguf_run.structured.replies import ReplyPlan
    from gguf_run.structured.tool_choice import ToolChoice

__all__ = ["Constraint", "Drawer", "ReasoningBudget", "ReplyPlan", "ToolChoice"]

__getattr__ = lazily(
    __name__,
    {
        "budget": ("ReasoningBudget",),
        "constraint": ("Constraint",),
        "drawer": ("Drawer",),
        "replies": ("ReplyPlan",),
        "tool_choice": ("ToolChoice",),
    },
)


def __dir__() -> list[str]:
    return __all__
