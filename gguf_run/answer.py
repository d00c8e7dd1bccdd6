"""The model's turn in a chat: chunks of content, reasoning and tool calls as they come."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from gguf_run.chat import Delta, Reply, ReplyParser
from gguf_run.errors import ModelError
from gguf_run.generation import Chunk, Generation, Timings


class Answer(Iterator[Chunk]):
    """The chunks of one answer, one a token, made as they are asked for.

    A chunk's `text` is content, its `reasoning` what the model thinks before; what belongs to a
    mark between them is in neither. A tool call comes whole, in `tool_calls`; an answer with calls
    ends with the `finish_reason` "tool_calls".

    Attributes:
        timings: tokens and seconds.
        finish_reason: of the last chunk; None before it.
        ended: called once, when the answer is complete or closed; not after an error.
    """

    def __init__(self, generation: Generation, parser: ReplyParser) -> None:
        """Args:
        generation: the text with control tokens spelt out.
        parser: takes it apart.
        """
        self.timings: Timings = generation.timings
        self.finish_reason: str | None = None
        self._generation = generation
        self._parser: ReplyParser | None = parser
        self._deltas: list[Delta] = []
        self.ended: Callable[[], None] | None = None

    def __next__(self) -> Chunk:
        if self._parser is None:
            raise StopIteration
        try:
            chunk = next(self._generation, None)
        except Exception:
            self._parser = None
            raise
        if chunk is None:
            self.close()
            raise StopIteration
        deltas = self._parser.push(chunk.text)
        if chunk.finish_reason is not None:
            deltas += self._parser.finish()
            self._parser = None
        self._deltas += deltas
        said = Reply.of(deltas)
        chunk = replace(
            chunk, text=said.content, reasoning=said.reasoning, tool_calls=tuple(said.tool_calls)
        )
        if chunk.finish_reason is not None:
            if chunk.finish_reason == "stop" and self.reply.tool_calls:
                chunk = replace(chunk, finish_reason="tool_calls")
            self.finish_reason = chunk.finish_reason
            self._finish()
        return chunk

    @property
    def reply(self) -> Reply:
        """What has been said by now."""
        return Reply.of(self._deltas)

    @property
    def message(self) -> dict[str, Any]:
        """The same as a message of a chat, to be put behind those that were answered."""
        reply = self.reply
        message: dict[str, Any] = {"role": "assistant", "content": reply.content}
        if reply.reasoning:
            message["reasoning_content"] = reply.reasoning
        if reply.tool_calls:
            message["tool_calls"] = [
                {
                    "type": "function",
                    "id": call.id,
                    "function": {"name": call.name, "arguments": call.arguments},
                }
                for call in reply.tool_calls
            ]
        return message

    def close(self) -> None:
        """End early; what has come stays in `reply`, with what was held back."""
        if self._parser is not None:
            self._generation.close()
            self._deltas += self._parser.finish()
            self._parser = None
            self._finish()

    def _finish(self) -> None:
        if self.ended is not None:
            self.ended()


def response_options(response_format: Mapping[str, Any] | None) -> dict[str, Any]:
    """A `response_format` of OpenAI's API as options of `Model.generate`.

    Raises `ModelError` for another kind.
    """
    kind = "text" if response_format is None else response_format.get("type")
    if kind == "text":
        return {}
    if kind == "json_object":
        return {"json_schema": {"type": "object"}}
    named = response_format.get("json_schema") if response_format else None
    if kind == "json_schema" and isinstance(named, Mapping) and "schema" in named:
        return {"json_schema": named["schema"]}
    raise ModelError(
        'response_format: expected {"type": "text"}, {"type": "json_object"} or {"type": '
        f'"json_schema", "json_schema": {{"schema": ...}}}}, found {response_format!r:.100}'
    )
