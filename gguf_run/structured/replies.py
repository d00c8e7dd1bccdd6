"""What a reply of a chat is bound to, beside the reasoning that may come before it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gguf_run.chat import ReplyForm
from gguf_run.chat.reply import overlap
from gguf_run.structured.schema_limits import Schema
from gguf_run.structured.spelling import Spelling
from gguf_run.structured.tool_calls import CallWriter


@dataclass(frozen=True, slots=True)
class ReplyPlan:
    """A reply that is bound to something.

    Attributes:
        form: what replies look like.
        prompt: the text that the model continues; it may begin the reasoning.
        tools: those whose calls are bound to their schemas.
        must_call: whether the reply is a call, not content.
        several: whether it may have more calls than one.
    """

    form: ReplyForm
    prompt: str
    tools: Sequence[Mapping[str, Any]] = ()
    must_call: bool = False
    several: bool = True


def write_reply(
    plan: ReplyPlan, spelling: Spelling, read: Callable[[Schema], Schema], content: str | None
) -> str:
    """The engine's grammar for a reply.

    Args:
        read: checks a schema of a tool, and gives it as the engine may have it.
        content: the rules for the content, the first of which is `start`; None: it is free.
    """
    writer = _Writer(plan, spelling)
    answer = []
    if plan.tools:
        calls = CallWriter(spelling, plan.form.tools, read)
        answer.append(calls.calls(plan.tools, plan.several, writer.given))
        if not plan.must_call and content is None:
            answer.append(
                writer.talk(lambda: calls.calls(plan.tools, plan.several, writer.trigger))
            )
    if not plan.must_call and content is not None:
        answer.append(writer.content(content))
    start = f"start: {writer.reasoning()} ({' | '.join(answer)})"
    return "\n".join([start, *spelling.lines]) + "\n"


class _Writer:
    def __init__(self, plan: ReplyPlan, spelling: Spelling) -> None:
        self._plan = plan
        self._form = plan.form
        self._spelling = spelling
        written = plan.form.tools.written
        self.trigger = written.trigger if written else ""
        begin = plan.form.content[0]
        n = max(overlap(plan.prompt, mark) for mark in (begin, self.trigger))
        if begin and plan.prompt.endswith(begin):
            n = len(begin)
        self.given = plan.prompt[len(plan.prompt) - n :]
        """What the prompt has of the mark that the answer begins with."""

    def reasoning(self) -> str:
        """Reasoning and the space behind it, as far as the prompt has left it."""
        if self._form.reasoning is None:
            return ""
        begin, end = self._form.reasoning
        space = "/[ \\n]{0,4}/"
        inside = f"{self._spelling.until(end, [end])} {space}"
        prompt = self._plan.prompt.rstrip()
        if prompt.endswith(begin):
            return inside
        if prompt.endswith(end) or self.given:
            return ""
        return f"({self._spelling.mark(begin)} {inside})?"

    def content(self, rules: str) -> str:
        """Content by rules of its own."""
        name = "content"
        self._spelling.lines.append(rules.replace("start:", f"{name}:", 1))
        before, after = self._form.content
        before = before.removeprefix(self.given)
        return f"{self._spelling.mark(before)} {name} {self._spelling.mark(after)}"

    def talk(self, calls: Callable[[], str]) -> str:
        """Free content, and calls behind it."""
        before, after = self._form.content
        before = self._spelling.mark(before.removeprefix(self.given))
        if not self._form.tools.open:
            # A text that begins as a call does is one.
            free = self._spelling.text(self._form.tools.silent, "([^\\[{\\s](?s:.*))?")
            return f"{before} {free} {self._spelling.mark(after)}"
        if after:
            ended = self._spelling.until(after, [after])
            return f"{before} {ended} ({self._spelling.mark(self.trigger)} {calls()})?"
        free = self._spelling.text([self.trigger])
        return f"{before} ({free} | {self._spelling.until(self.trigger, [self.trigger])} {calls()})"
