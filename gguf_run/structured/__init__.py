"""Structured output: texts that follow a GBNF grammar, a JSON schema or a regular expression.

`factory.ConstraintFactory` makes the constraints; it is not imported here, as its engine takes
0.1 s to load.
"""

from gguf_run.structured.budget import ReasoningBudget
from gguf_run.structured.constraint import Constraint
from gguf_run.structured.drawer import Drawer
from gguf_run.structured.replies import ReplyPlan
from gguf_run.structured.tool_choice import ToolChoice

__all__ = ["Constraint", "Drawer", "ReasoningBudget", "ReplyPlan", "ToolChoice"]
