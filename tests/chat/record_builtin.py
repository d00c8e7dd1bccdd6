"""Records what llama.cpp's `--chat-template NAME` makes of some conversations, for every name.

Needs `pip install llama-cpp-python`; `test_builtin.py` compares.
"""

from __future__ import annotations

import ctypes
import json
from pathlib import Path

from llama_cpp import llama_cpp

OUT = Path(__file__).parent / "data" / "llama_builtin.json"
_SYSTEM = ("system", "You are kind.")
_ASKED = ("user", " Hi! ")
_SAID = ("assistant", " Hello. ")
_AGAIN = ("user", "Bye")

CONVERSATIONS = {
    "one question": [_AGAIN],
    "system": [_SYSTEM, _AGAIN],
    "turns": [_SYSTEM, _ASKED, _SAID, _AGAIN],
    "turns without system": [_ASKED, _SAID, _AGAIN, ("assistant", "See you"), ("user", "Oh")],
    "ends with an answer": [_SYSTEM, _ASKED, _SAID],
    "two system messages": [
        ("system", " A "),
        ("user", "q"),
        ("assistant", "a"),
        ("system", "B"),
        ("user", "r"),
    ],
}


def _names() -> list[str]:
    n = llama_cpp.llama_chat_builtin_templates(None, 0)
    names = (ctypes.c_char_p * n)()
    llama_cpp.llama_chat_builtin_templates(names, n)
    return sorted(name.decode() for name in names)


def _applied(name: str, turns: list[tuple[str, str]], generate: bool) -> str:
    messages = (llama_cpp.llama_chat_message * len(turns))()
    for message, (role, content) in zip(messages, turns, strict=True):
        message.role, message.content = role.encode(), content.encode()
    buffer = ctypes.create_string_buffer(1 << 16)
    n = llama_cpp.llama_chat_apply_template(
        name.encode(), messages, len(turns), generate, buffer, len(buffer)
    )
    return buffer.raw[:n].decode()


def main() -> None:
    texts = {
        name: {
            what: [_applied(name, turns, generate) for generate in (True, False)]
            for what, turns in CONVERSATIONS.items()
        }
        for name in _names()
    }
    record = {"conversations": CONVERSATIONS, "texts": texts}
    OUT.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    main()
