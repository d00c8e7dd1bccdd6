"""`ChatTemplate`: messages to the text that a model continues."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from gguf_run.chat.abilities import Abilities, Message
from gguf_run.chat.builtin import BUILTIN, builtin_source, detect
from gguf_run.chat.forms import ReplyForm
from gguf_run.chat.limits import Limits
from gguf_run.chat.parser import ReplyParser
from gguf_run.chat.plain import plain, with_reasoning
from gguf_run.chat.rendering import CompiledTemplate
from gguf_run.errors import ModelError
from gguf_run.loader import MetaValue
from gguf_run.tokenizer import Tokenizer

KEY = "tokenizer.chat_template"
TOOL_VARIANT = "tool_use"
"""The variant of a template that is for conversations with tools, as transformers has it."""

_SPECIAL_KEYS = {
    "bos_token": "bos_token_id",
    "eos_token": "eos_token_id",
    "unk_token": "unknown_token_id",
    "sep_token": "seperator_token_id",
    "pad_token": "padding_token_id",
    "cls_token": "cls_token_id",
    "mask_token": "mask_token_id",
}
_TRIAL_TOOL = {
    "type": "function",
    "function": {
        "name": "f",
        "description": "",
        "parameters": {"type": "object", "properties": {}, "required": []},
    },
}


class ChatTemplate:
    """A chat template, and what of its model's vocabulary it refers to.

    The Jinja text comes from a model file: it runs in a sandbox, within `Limits`.

    Attributes:
        name: of the template, in errors.
        source: the Jinja text.
        tool_source: the Jinja text for conversations with tools, most often the same.
        special_tokens: "bos_token" and the like -> text.
    """

    def __init__(
        self,
        source: str,
        *,
        name: str = "chat template",
        tool_source: str | None = None,
        special_tokens: Mapping[str, str] | None = None,
        limits: Limits | None = None,
        now: Callable[[], datetime] = datetime.now,
    ) -> None:
        """Compile a template.

        Args:
            source: the Jinja text.
            name: names it in errors.
            tool_source: used instead where there are tools.
            special_tokens: "bos_token" and the like -> text.
            limits: what a rendering may spend.
            now: the clock that templates read the date from.

        Raises:
            ModelError: it is no valid template, or too long.
        """
        self.name = name
        self.source = source
        self.tool_source = source if tool_source is None else tool_source
        self.special_tokens = dict(special_tokens or {})
        limits = limits or Limits()
        self._plain = _Variant(CompiledTemplate(source, name, limits, now), self.special_tokens)
        self._tools = self._plain
        if self.tool_source != source:
            compiled = CompiledTemplate(self.tool_source, f"{name}.{TOOL_VARIANT}", limits, now)
            self._tools = _Variant(compiled, self.special_tokens, [_TRIAL_TOOL])

    @classmethod
    def from_metadata(
        cls, metadata: Mapping[str, MetaValue], tokenizer: Tokenizer | None = None
    ) -> ChatTemplate:
        """The template of a file; where it has none, a built-in one that fits its vocabulary.

        Args:
            metadata: of the file.
            tokenizer: the file's, where there is one already: it knows BOS and EOS of files that
                leave them out.

        Raises:
            ModelError: the template is no text, no valid template, or too long.
        """
        return load_template(metadata, tokenizer=tokenizer)

    @property
    def supports_system(self) -> bool:
        """Whether the template writes what a system message says; some models know no such."""
        return self._plain.abilities.system

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = True,
        **kwargs: Any,
    ) -> str:
        """The text of a conversation; with `add_generation_prompt` the model's turn begins.

        Control tokens are spelt out, BOS among them where the template writes it: encode with
        `parse_special=True`, and without another BOS if the text begins with that.

        Args:
            messages: mappings with "role" and "content" (text, or a list of parts such as
                `{"type": "text", "text": ...}`), also "tool_calls", "reasoning_content" and so on.
            tools: JSON schemas of functions that the model may call.
            add_generation_prompt: end with the beginning of the model's answer.
            kwargs: whatever else the template reads: `documents`, `enable_thinking`, ...

        Raises:
            ModelError: the messages are no JSON values, the template refuses them or fails, or it
                asks for more time or memory than `Limits` grants.
        """
        copies, n_input = plain(list(messages), "messages")
        for i, message in enumerate(copies):
            if not isinstance(message, dict):
                raise ModelError(f"messages[{i}]: expected a mapping, found {message!r:.50}")
        values: dict[str, Any] = {"documents": None, **self.special_tokens}
        for name, value in {"tools": tools, **kwargs}.items():
            values[name], size = plain(value, name)
            n_input += size
        values["add_generation_prompt"] = add_generation_prompt
        variant = self._tools if tools else self._plain
        fitting = variant.abilities.fit([with_reasoning(message) for message in copies])
        return variant.compiled.render({**values, "messages": fitting}, n_input)

    def reply_parser(
        self, prompt: str = "", tools: Sequence[Mapping[str, Any]] | None = None
    ) -> ReplyParser:
        """What takes this model's answers apart while they come.

        Args:
            prompt: the rendered text that the model continues; it may begin the reasoning.
            tools: as they were rendered.
        """
        return ReplyParser(self.reply_form(tools), prompt, tools)

    def reply_form(self, tools: Sequence[Mapping[str, Any]] | None = None) -> ReplyForm:
        """What this model's answers look like, with tools or without."""
        return ReplyForm.of(self.tool_source if tools else self.source)


class _Variant:
    """One compiled text, and what it takes."""

    def __init__(
        self,
        compiled: CompiledTemplate,
        special_tokens: Mapping[str, str],
        tools: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        self.compiled = compiled
        self._special_tokens = special_tokens
        self._tools = tools
        self.abilities = Abilities(self._trial)

    def _trial(self, messages: Sequence[Message]) -> str:
        values = {
            **self._special_tokens,
            "messages": messages,
            "tools": self._tools,
            "documents": None,
            "add_generation_prompt": False,
        }
        return self.compiled.try_out(values)


def load_template(
    metadata: Mapping[str, MetaValue],
    name: str | None = None,
    text: str | None = None,
    tokenizer: Tokenizer | None = None,
) -> ChatTemplate:
    """The template to use for a file: `text`, else the one called `name`, else the file's own.

    Args:
        metadata: of the file.
        name: of a variant in the file (`tokenizer.chat_template.<name>`) or of a built-in
            template.
        text: a Jinja text.
        tokenizer: as in `ChatTemplate.from_metadata`.

    Raises:
        ModelError: there is no template of that name, or it is not valid.
    """
    special = _special_tokens(metadata, tokenizer)
    if text is not None:
        return ChatTemplate(text, special_tokens=special)
    if name is not None:
        key = f"{KEY}.{name}"
        if key not in metadata and name not in BUILTIN:
            raise ModelError(_unknown(name, metadata))
        source = _text(metadata, key) if key in metadata else builtin_source(name)
        return ChatTemplate(source, name=f"chat template {name!r}", special_tokens=special)
    if KEY in metadata:
        tool_key = f"{KEY}.{TOOL_VARIANT}"
        return ChatTemplate(
            _text(metadata, KEY),
            name=KEY,
            tool_source=_text(metadata, tool_key) if tool_key in metadata else None,
            special_tokens=special,
        )
    name = detect(_tokens(metadata))
    return ChatTemplate(
        builtin_source(name), name=f"chat template {name!r}", special_tokens=special
    )


def has_template(metadata: Mapping[str, MetaValue]) -> bool:
    """Whether a file brings a chat template: it is made for chats."""
    return KEY in metadata


def template_names(metadata: Mapping[str, MetaValue]) -> list[str]:
    """What `load_template` takes as a name: the file's variants, and the built-in templates."""
    prefix = f"{KEY}."
    return [
        *(key.removeprefix(prefix) for key in metadata if key.startswith(prefix)),
        *sorted(BUILTIN),
    ]


def _unknown(name: str, metadata: Mapping[str, MetaValue]) -> str:
    known = template_names(metadata)
    near = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(known)}"
    return f"chat template: expected the name of one, found {name!r:.50}; {hint}"


def _text(metadata: Mapping[str, MetaValue], key: str) -> str:
    value = metadata[key]
    if not isinstance(value, str):
        raise ModelError(f"key {key}: expected a text, found {type(value).__name__}")
    return value


def _tokens(metadata: Mapping[str, MetaValue]) -> list[str]:
    tokens = metadata.get("tokenizer.ggml.tokens")
    return [t for t in tokens if isinstance(t, str)] if isinstance(tokens, list) else []


def _special_tokens(
    metadata: Mapping[str, MetaValue], tokenizer: Tokenizer | None
) -> dict[str, str]:
    tokens = _tokens(metadata)
    # Templates add them to texts, and fail where they are not there at all.
    found = {"bos_token": "", "eos_token": ""}
    for name, key in _SPECIAL_KEYS.items():
        token = metadata.get(f"tokenizer.ggml.{key}")
        if tokenizer is not None and token is None:
            token = getattr(tokenizer, name.removesuffix("_token"), None)
        if isinstance(token, int) and 0 <= token < len(tokens):
            found[name] = tokens[token]
    return found
