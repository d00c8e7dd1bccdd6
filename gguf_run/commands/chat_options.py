"""The options of chats."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gguf_run.chat import ChatTemplate, load_template
from gguf_run.commands.options import stack
from gguf_run.commands.prompts import read_text, unescape
from gguf_run.conversation import Conversation
from gguf_run.model import Model

_SPELLINGS = {
    "system_prompt": "-sys",
    "single_turn": "-st",
    "chat_template": "--chat-template",
    "chat_template_file": "--chat-template-file",
    "reasoning_budget": "--reasoning-budget",
}
_TEMPLATE_FILES = {".jinja", ".jinja2", ".j2", ".txt"}
_PATH = click.Path(path_type=Path)

chat_options = stack(
    click.option("-sys", "--system-prompt", help="The system message."),
    click.option("-st", "--single-turn", is_flag=True, help="End after one answer."),
    click.option(
        "--chat-template",
        help="A built-in template, one of the file's variants, or a Jinja file's path.",
    ),
    click.option("--chat-template-file", type=_PATH, help="The Jinja template of this file."),
    click.option(
        "--reasoning-budget",
        type=click.IntRange(-1, 0),
        help="0: answer without reasoning, where the template can; -1: as the model likes.",
    ),
    click.option("--jinja", is_flag=True, hidden=True, expose_value=False),
)


def refuse_chat_options(options: dict[str, Any]) -> None:
    """`click.UsageError` where an option of chats is among those of another run."""
    for name, spelling in _SPELLINGS.items():
        if options[name]:
            raise click.UsageError(f"{spelling} is for chats: add -cnv, or say gguf-run chat")


def open_conversation(model: Model, options: dict[str, Any]) -> Conversation:
    """A conversation by the values of `chat_options`.

    Raises `click.UsageError` where a file can't be read, `ModelError` for a wrong template.
    """
    system = options["system_prompt"]
    if system is not None and not options["no_escape"]:
        system = unescape(system)
    return Conversation(
        model,
        system,
        template=_template(model, options["chat_template"], options["chat_template_file"]),
        template_args={"enable_thinking": False} if options["reasoning_budget"] == 0 else None,
    )


def _template(model: Model, name: str | None, file: Path | None) -> ChatTemplate | None:
    if name is not None and file is not None:
        raise click.UsageError(
            "expected one template, found both --chat-template and --chat-template-file"
        )
    metadata, tokenizer = model.metadata, model.tokenizer
    if name is not None and Path(name).suffix in _TEMPLATE_FILES:
        return load_template(
            metadata, text=read_text("--chat-template", Path(name)), tokenizer=tokenizer
        )
    if file is not None:
        return load_template(
            metadata, text=read_text("--chat-template-file", file), tokenizer=tokenizer
        )
    return None if name is None else load_template(metadata, name, tokenizer=tokenizer)
