"""Conversations that templates are rendered with: messages and the template's other values."""

from __future__ import annotations

from typing import Any

Message = dict[str, Any]

SPECIAL = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": 'Get the "weather" <now> & é.',
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"type": "string", "description": "Name of the city"},
                    "unit": {"type": "string", "enum": ["c", "f"], "default": "c"},
                    "days": {"type": "array", "items": {"type": "integer"}},
                    "more": {
                        "type": "object",
                        "properties": {"deep": {"type": "boolean"}, "any": {}},
                        "required": ["deep"],
                    },
                },
                "required": ["city"],
            },
        },
    },
    {
        "type": "function",
        "function": {
            "name": "now",
            "description": "The time",
            "parameters": {"type": "object", "properties": {}},
        },
    },
]


def _say(role: str, content: Any, **more: Any) -> Message:
    return {"role": role, "content": content, **more}


def _call(name: str, arguments: dict[str, Any], call_id: str) -> Message:
    return {
        "id": call_id,
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    }


_SYSTEM = _say("system", "You are <kind> & é.")
_WEATHER = _call("get_weather", {"city": "Köln", "days": [1, 2]}, "call00001")
_NOW = _call("now", {}, "call00002")
_ANSWER = _say("tool", '{"t": 3}', name="get_weather", tool_call_id="call00001")
_NOW_ANSWER = _say("tool", "12:00", name="now", tool_call_id="call00002")

CONVERSATIONS: dict[str, tuple[list[Message], dict[str, Any]]] = {
    "one question": ([_say("user", " Hi there ")], {}),
    "system": ([_SYSTEM, _say("user", "Hi")], {}),
    "turns": (
        [_SYSTEM, _say("user", "Hi"), _say("assistant", "Hello."), _say("user", "More?")],
        {},
    ),
    "turns without system": (
        [_say("user", "Hi"), _say("assistant", " Hello. "), _say("user", "😀 {{ x }} {% if %}")],
        {},
    ),
    "no generation prompt": (
        [_SYSTEM, _say("user", "Hi"), _say("assistant", "Hello.")],
        {"add_generation_prompt": False},
    ),
    "tools": ([_SYSTEM, _say("user", "Weather in Köln?")], {"tools": TOOLS}),
    "tools without system": ([_say("user", "Weather in Köln?")], {"tools": TOOLS}),
    "a call": (
        [_say("user", "Weather?"), _say("assistant", "", tool_calls=[_WEATHER]), _ANSWER],
        {"tools": TOOLS},
    ),
    "two calls": (
        [
            _SYSTEM,
            _say("user", "Weather, and when?"),
            _say("assistant", "Let me see.", tool_calls=[_WEATHER, _NOW]),
            _ANSWER,
            _NOW_ANSWER,
            _say("assistant", "3 degrees at noon."),
            _say("user", "Thanks"),
        ],
        {"tools": TOOLS},
    ),
    "a call without tools": (
        [
            _say("user", "Weather?"),
            _say("assistant", "", tool_calls=[_WEATHER]),
            _ANSWER,
            _say("assistant", "3 degrees."),
            _say("user", "Thanks"),
        ],
        {},
    ),
    "thoughts in the text": (
        [
            _say("user", "1+1?"),
            _say("assistant", "<think>\nhm\n</think>\n\n2"),
            _say("user", "2+2?"),
        ],
        {},
    ),
    "thoughts beside the text": (
        [
            _say("user", "1+1?"),
            _say("assistant", "2", reasoning_content="hm"),
            _say("user", "2+2?"),
            _say("assistant", "4", reasoning_content="oh"),
        ],
        {"add_generation_prompt": False},
    ),
    "thinking off": ([_say("user", "1+1?")], {"enable_thinking": False}),
    "options": (
        [_SYSTEM, _say("user", "1+1?")],
        {"date_string": "1 Apr", "reasoning_effort": "high", "tools_first": True, "tools": TOOLS},
    ),
    "documents": (
        [_say("user", "Sum up.")],
        {"documents": [{"title": "One", "text": "a\nb"}, {"title": "Two", "text": "c"}]},
    ),
    "two system messages": (
        [_SYSTEM, _say("user", "a"), _say("assistant", "b"), _SYSTEM, _say("user", "c")],
        {},
    ),
    "two questions": ([_say("user", "a"), _say("user", "b")], {}),
    "nothing": ([], {}),
}
