"""`Conversation`: a chat that remembers its messages, and the model's work on them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeGuard

from gguf_run.answer import Answer
from gguf_run.chat import ChatTemplate
from gguf_run.errors import ModelError
from gguf_run.model import Model
from gguf_run.prompt_cache import Past, PromptCache
from gguf_run.state_file import is_state

FORMAT = "gguf-run conversation"
VERSION = 1


class Conversation:
    """A chat with a model: ask with `send`, read the answer's chunks.

        talk = Conversation(model, system="You answer in one sentence.")
        for chunk in talk.send("Why is the sky blue?"):
            print(chunk.text, end="", flush=True)

    Keys and values of earlier turns are not computed again, as long as the model has room for them.

    Attributes:
        messages: all of them, the answers too; may be changed at will between turns.
        tools: JSON schemas of functions that the model may call.
        template_args: whatever else the template reads, such as `enable_thinking`.
    """

    def __init__(
        self,
        model: Model,
        system: str | None = None,
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        template: ChatTemplate | None = None,
        template_args: Mapping[str, Any] | None = None,
    ) -> None:
        """Args:
        model: must stay open.
        system: the system message.
        template: default: the model's own.
        """
        self.messages: list[dict[str, Any]] = []
        self.tools = tools
        self.template_args = dict(template_args or {})
        self._model = model
        self._template = template
        self._cache = PromptCache(model.engine, model.tokenizer)
        self._answer: Answer | None = None
        self.system = system

    @property
    def n_ctx(self) -> int:
        """Tokens that the conversation may have."""
        return self._model.n_ctx

    @property
    def system(self) -> str | None:
        """The system message; setting it leaves the other messages as they are."""
        first = self.messages[0] if self.messages else {}
        return first["content"] if first.get("role") == "system" else None

    @system.setter
    def system(self, text: str | None) -> None:
        if self.system is not None:
            del self.messages[0]
        if text is not None:
            self.messages.insert(0, {"role": "system", "content": text})

    def send(
        self,
        message: str | Mapping[str, Any],
        max_tokens: int | None = None,
        **options: Any,
    ) -> Answer:
        """Say something, and have it answered.

        The answer is put behind the messages when it is complete or closed; a new one closes it.

        Args:
            message: the user's text, or a whole message, such as a tool's result.
            max_tokens, options: as for `Model.chat`.

        Raises `ModelError`, with the messages as they were, where the messages do not fit.
        """
        self.end_answer()
        said = {"role": "user", "content": message} if isinstance(message, str) else dict(message)
        self.messages.append(said)
        try:
            return self.answer(max_tokens, **options)
        except ModelError:
            self.messages.pop()
            raise

    def answer(self, max_tokens: int | None = None, **options: Any) -> Answer:
        """Have the messages answered as they are; arguments as for `Model.chat`."""
        self.end_answer()
        answer = self._answer = self._model.chat(
            self.messages,
            self.tools,
            max_tokens,
            template=self._template,
            template_args=self.template_args,
            cache=self._cache,
            **options,
        )
        answer.ended = lambda: self.messages.append(answer.message)
        return answer

    def regenerate(self, max_tokens: int | None = None, **options: Any) -> Answer:
        """Take the last answer back and have another one.

        Raises `ModelError` where there is nothing to answer.
        """
        self.end_answer()
        while self.messages and self.messages[-1]["role"] == "assistant":
            self.messages.pop()
        if not self.messages or self.messages[-1]["role"] == "system":
            raise ModelError("expected a message to answer, found none yet")
        return self.answer(max_tokens, **options)

    def reset(self) -> None:
        """Forget all messages but the system message."""
        self.end_answer()
        self.messages = self.messages[: int(self.system is not None)]

    def end_answer(self) -> None:
        """Close the answer that is still coming, if there is one."""
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.close()

    def save(self, path: str | os.PathLike[str], *, cache: bool = False) -> None:
        """Write messages and tokens to a file, for `load`: JSON that a few kilobytes hold.

        With `cache` also what the model has computed of them, so that nothing is computed again;
        then the file is as large as that, and for this model alone.
        """
        self.end_answer()
        if cache:
            self._cache.save(path, {"messages": self.messages})
            return
        content = {
            "format": FORMAT,
            "version": VERSION,
            "model": self._model.hparams.name,
            "messages": self.messages,
            "past": asdict(self._cache.past),
        }
        Path(path).write_text(json.dumps(content, indent=1) + "\n", "utf-8")

    def load(self, path: str | os.PathLike[str]) -> None:
        """Go on where a saved conversation was.

        The tokens are those that were saved. Unless it was saved with its cache, their keys and
        values are computed again by the next answer, and a conversation with another model keeps
        its messages alone.

        Raises:
            ModelError: the file is none of `save`'s, or with a cache that is not this model's.
            OSError: it can't be read.
        """
        self.end_answer()
        path = Path(path)
        if is_state(path):
            messages = self._cache.load(path).get("messages")
            if not _are_messages(messages):
                self._cache.release()
                raise ModelError(f"{path}: expected a saved conversation, found a prompt alone")
            self.messages = messages
            return
        content, past = _read(path)
        self.messages = content["messages"]
        self._cache.release()
        is_same = content.get("model") == self._model.hparams.name
        self._cache.past = past if is_same and self._cache.knows(past.tokens) else Past()

    def close(self) -> None:
        """Give the room in the KV cache back; the messages stay."""
        self.end_answer()
        self._cache.release()


def _read(path: Path) -> tuple[dict[str, Any], Past]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path}: expected a saved conversation, found no JSON: {error}") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ModelError(f"{path}: expected a saved conversation, found another kind of file")
    if content.get("version") != VERSION:
        found = content.get("version")
        raise ModelError(f"{path}: expected a conversation of version {VERSION}, found {found!r}")
    past = Past.read(content.get("past"))
    if past is None or not _are_messages(content.get("messages")):
        raise ModelError(f"{path}: expected a saved conversation, found a damaged one")
    return content, past


def _are_messages(value: object) -> TypeGuard[list[dict[str, Any]]]:
    return isinstance(value, list) and all(
        isinstance(m, dict) and isinstance(m.get("role"), str) for m in value
    )
