"""Chats: messages to text by a model's template, and a model's text to replies."""

from gguf_run.chat.builtin import BUILTIN
from gguf_run.chat.limits import Limits
from gguf_run.chat.template import ChatTemplate, has_template, load_template, template_names

__all__ = [
    "BUILTIN",
    "ChatTemplate",
    "Limits",
    "has_template",
    "load_template",
    "template_names",
]
