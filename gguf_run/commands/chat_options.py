"""The options of chats."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gguf_run.commands.options import stack
from gguf_run.commands.texts import read_text, unescape

if TYPE_CHECKING:
    from gguf_run.chat import ChatTemplate
    from gguf_run.conversation import Conversation
    from gguf_run.model import Model

_SPELLINGS = {
    "system_prompt": "-sys",
    "system_prompt_file": "-sysf",
    "single_turn": "-st",
    "chat_template": "--chat-template",
    "chat_template_file": "--chat-template-file",
    "chat_template_kwargs": "--chat-template-kwargs",
    "reasoning_budget": "--reasoning-budget",
}
_TEMPLATE_FILES = {".jinja", ".jinja2", ".j2", ".txt"}
_PATH = click.Path(path_type=Path)

chat_options = stack(
    click.option("-sys", "--system-prompt", help="The system message."),
    click.option(
        "-sysf", "--system-prompt-file", type=_PATH, help="The system message, from a file."
    ),
    click.option("-st", "--single-turn", is_flag=True, help="End after one answer."),
    click.option(
        "--chat-template",
        help="A built-in template, one of the file's variants, a Jinja file's path, or Jinja.",
    ),
    click.option("--chat-template-file", type=_PATH, help="The Jinja template of this file."),
    click.option(
        "--chat-template-kwargs",
        metavar="JSON",
        help='What else the template reads, such as {"enable_thinking": false}.',
    ),
    click.option(
        "--reasoning-budget",
        type=click.IntRange(-1),
        help="So many tokens of reasoning at most; 0: none; -1 (default): as the model likes.",
    ),
)


def refuse_chat_options(options: dict[str, Any]) -> None:
    """`click.UsageError` where an option of chats is among those of another run."""
    for name, spelling in _SPELLINGS.items():
        if options[name] not in (None, False):
            raise click.UsageError(f"{spelling} is for chats: add -cnv, or say gguf-run chat")


def open_conversation(model: Model, options: dict[str, Any]) -> Conversation:
    """A conversation by the values of `chat_options`.

    Raises `click.UsageError` where a file can't be read, `ModelError` for a wrong template.
    """
    from gguf_run.conversation import Conversation

    return Conversation(
        model,
        _system(options),
        template=_template(model, options["chat_template"], options["chat_template_file"]),
        template_args=_template_args(options),
    )


def _system(options: dict[str, Any]) -> str | None:
    text, file = options["system_prompt"], options["system_prompt_file"]
    if text is not None and file is not None:
        raise click.UsageError("expected one system message, found both -sys and -sysf")
    if file is not None:
        return read_text("-sysf", file).removesuffix("\n")
    return unescape(text) if text is not None and options["escape"] else text


def _template_args(options: dict[str, Any]) -> dict[str, Any]:
    given = options["chat_template_kwargs"] or "{}"
    try:
        found = json.loads(given)
    except ValueError as error:
        found = error
    if not isinstance(found, dict):
        raise click.UsageError(
            '--chat-template-kwargs: expected a JSON object such as {"enable_thinking": false}, '
            f"found {given!r}"
        )
    return found | ({"enable_thinking": False} if options["reasoning_budget"] == 0 else {})


def _template(model: Model, name: str | None, file: Path | None) -> ChatTemplate | None:
    from gguf_run.chat import load_template

    if name is not None and file is not None:
        raise click.UsageError(
            "expected one template, found both --chat-template and --chat-template-file"
        )
    metadata, tokenizer = model.metadata, model.tokenizer
    if name is not None and ("{{" in name or "{%" in name):
        return load_template(metadata, text=name, tokenizer=tokenizer)
    if name is not None and Path(name).suffix in _TEMPLATE_FILES:
        return load_template(
            metadata, text=read_text("--chat-template", Path(name)), tokenizer=tokenizer
        )
    if file is not None:
        return load_template(
            metadata, text=read_text("--chat-template-file", file), tokenizer=tokenizer
        )
    return None if name is None else load_template(metadata, name, tokenizer=tokenizer)
