"""What a template can do with messages, found by rendering small ones, and messages made to fit.

Templates differ in what they take: content as text or as a list of parts, arguments of tool calls
as a mapping or as JSON text, content that is null. What a template takes as it is, it gets as it
is; the rest is rewritten to what it takes, as llama.cpp does it too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from gguf_run.chat.rendering import StoppedError
from gguf_run.errors import ModelError

Message: TypeAlias = dict[str, Any]
Render: TypeAlias = Callable[[Sequence[Message]], str]

_NEEDLE = "needle-7f3a"
_ROLES = ("system", "developer", "user", "assistant", "tool", "call")


class Abilities:
    """What a template takes, by trial; each trial is made once, when first asked for."""

    def __init__(self, render: Render) -> None:
        """Args: render: the text for messages, without tools; raises ModelError."""
        self._render = render
        self._known: dict[tuple[str, str], bool] = {}

    def fit(self, messages: Sequence[Message]) -> list[Message]:
        """The messages as the template takes them.

        Raises:
            ModelError: a message has a part that is no text, and the template takes text alone.
        """
        return [self._fit(message, i) for i, message in enumerate(messages)]

    @property
    def system(self) -> bool:
        """Whether the template writes what a system message says."""
        return self._knows("text", "system")

    def _fit(self, message: Message, index: int) -> Message:
        role, content = str(message.get("role")), message.get("content")
        if isinstance(content, list) and not self._knows("parts", role):
            message = {**message, "content": _joined(content, f"messages[{index}].content")}
        elif isinstance(content, str) and self._wants_parts(role):
            message = {**message, "content": [{"type": "text", "text": content}]}
        calls = message.get("tool_calls")
        if isinstance(calls, list) and calls:
            if content is None and "content" in message and not self._knows("null", role):
                message = {**message, "content": ""}
            message = {**message, "tool_calls": [self._fit_call(call) for call in calls]}
        return message

    def _wants_parts(self, role: str) -> bool:
        return not self._knows("text", role) and self._knows("parts", role)

    def _fit_call(self, call: Any) -> Any:
        function: Any = call.get("function", call) if isinstance(call, dict) else None
        arguments = function.get("arguments") if isinstance(function, dict) else None
        if isinstance(arguments, str):
            if self._knows("json", "call") or not self._knows("mapping", "call"):
                return call
            arguments = _parsed(arguments)
        elif isinstance(arguments, dict):
            if self._knows("mapping", "call") or not self._knows("json", "call"):
                return call
            arguments = json.dumps(arguments, ensure_ascii=False)
        else:
            return call
        if function is call:
            return {**call, "arguments": arguments}
        return {**call, "function": {**function, "arguments": arguments}}

    def _knows(self, what: str, role: str) -> bool:
        key = (what, role if role in _ROLES else "user")
        if key not in self._known:
            self._known[key] = self._try(*key)
        return self._known[key]

    def _try(self, what: str, role: str) -> bool:
        return any(self._shows(what, messages) for messages in _trials(what, role))

    def _shows(self, what: str, messages: list[Message]) -> bool:
        try:
            text = self._render(messages)
        except StoppedError:
            raise
        except ModelError:
            return False
        if what == "null":
            return "None" not in text
        # Quoted, it is Python's or JSON's spelling of the whole value, which no model knows.
        spelt = [f"'{_NEEDLE}'", f'\\"{_NEEDLE}']
        if what == "parts":
            spelt.append(f'"{_NEEDLE}"')
        return _NEEDLE in text and not any(form in text for form in spelt)


def _trials(what: str, role: str) -> list[list[Message]]:
    """Conversations whose message of this role has the thing that is tried; one has to do."""
    user = {"role": "user", "content": "q"}
    mapping: Any = {_NEEDLE: "v"}
    spelt = json.dumps(mapping)
    if what == "null":
        return [[user, _asking(arguments, None)] for arguments in (mapping, spelt)]
    if role == "call":
        arguments = spelt if what == "json" else mapping
        # Some write calls only where there is no content.
        return [[user, _asking(arguments, content)] for content in ("", None)]
    content: Any = [{"type": "text", "text": _NEEDLE}] if what == "parts" else _NEEDLE
    message = {"role": role, "content": content}
    if role in ("system", "developer"):
        return [[message, user]]
    if role == "tool":
        answer = {**message, "name": "f", "tool_call_id": "call00001"}
        return [[user, _asking(arguments, ""), answer] for arguments in (mapping, spelt)]
    return [[message]] if role == "user" else [[user, message]]


def _asking(arguments: Any, content: str | None) -> Message:
    """A message that calls a tool."""
    function = {"name": "f", "arguments": arguments}
    call = {"id": "call00001", "type": "function", "function": function}
    return {"role": "assistant", "content": content, "tool_calls": [call]}


def _joined(parts: Sequence[Any], where: str) -> str:
    """The texts of content in parts, a line break between, as llama.cpp has it."""
    texts = []
    for i, part in enumerate(parts):
        text = part.get("text") if isinstance(part, Mapping) else part
        if not isinstance(text, str):
            kind = part.get("type") if isinstance(part, Mapping) else type(part).__name__
            raise ModelError(
                f"{where}[{i}]: expected a part with text, found one of type {kind!r:.50}; "
                "this model's template takes text alone"
            )
        texts.append(text)
    return "\n".join(texts)


def _parsed(arguments: str) -> Any:
    """Arguments as a mapping; text that is no JSON object stays as it is."""
    try:
        value = json.loads(arguments)
    except (ValueError, RecursionError):
        return arguments
    return value if isinstance(value, dict) else arguments
