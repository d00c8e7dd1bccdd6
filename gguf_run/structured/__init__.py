"""Structured output: texts that follow a GBNF grammar, a JSON schema or a regular expression.

`factory.ConstraintFactory` makes the constraints; it is not imported here, as its engine takes
0.1 s to load.
"""

from gguf_run.structured.constraint import Constraint
from gguf_run.structured.drawer import Drawer

__all__ = ["Constraint", "Drawer"]
