"""Chats: messages to text by a model's template, and a model's text to replies."""

from typing import TYPE_CHECKING

from gguf_run.lazy import lazily

if TYPE_CHECKING:
    from gguf_run.chat.builtin import BUILTIN
    from gguf_run.chat.forms import ReplyForm
    from gguf_run.chat.limits import Limits
    from gguf_run.chat.parser import ReplyParser
    from gguf_run.chat.reply import Delta, Reply, ToolCall
    from gguf_run.chat.template import ChatTemplate, has_template, load_template, template_names

__all__ = [
    "BUILTIN",
    "ChatTemplate",
    "Delta",
    "Limits",
    "Reply",
    "ReplyForm",
    "ReplyParser",
    "ToolCall",
    "has_template",
    "load_template",
    "template_names",
]

__getattr__ = lazily(
    __name__,
    {
        "builtin": ("BUILTIN",),
        "forms": ("ReplyForm",),
        "limits": ("Limits",),
        "parser": ("ReplyParser",),
        "reply": ("Delta", "Reply", "ToolCall"),
        "template": ("ChatTemplate", "has_template", "load_template", "template_names"),
    },
)


def __dir__() -> list[str]:
    return __all__
