"""The values that a template may see: copies of messages, tools and options as plain JSON types.

What callers put into messages may be any object, with methods that the sandbox knows nothing of;
so only plain values go in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gguf_run.errors import ModelError

MAX_DEPTH = 64
"""Of lists and mappings inside one another."""

REASONING_FIELDS = ("reasoning_content", "thinking", "reasoning")
"""The names under which messages carry reasoning; templates read the first or the second."""


def plain(value: object, where: str, depth: int = 0) -> tuple[Any, int]:
    """A copy of a JSON value, and its size in characters and parts.

    Args:
        where: names the value in errors.

    Raises:
        ModelError: something is no JSON value, or nested too deep.
    """
    if value is None or isinstance(value, bool):
        return value, 1
    if isinstance(value, str):
        return str.__str__(value), 1 + len(value)
    if isinstance(value, int):
        return int.__int__(value), 1 + value.bit_length() // 8
    if isinstance(value, float):
        return float.__float__(value), 1
    if depth == MAX_DEPTH:
        raise ModelError(f"{where}: expected values at most {MAX_DEPTH} deep, found deeper ones")
    if isinstance(value, Mapping):
        return _plain_mapping(value, where, depth)
    if isinstance(value, (list, tuple)):
        parts = [plain(item, f"{where}[{i}]", depth + 1) for i, item in enumerate(value)]
        return [part for part, _ in parts], 1 + sum(size for _, size in parts)
    raise ModelError(
        f"{where}: expected text, a number, a list or a mapping, found {type(value).__name__}"
    )


def _plain_mapping(value: Mapping[Any, Any], where: str, depth: int) -> tuple[dict[str, Any], int]:
    out: dict[str, Any] = {}
    total = 1
    for key, item in value.items():
        if not isinstance(key, str):
            raise ModelError(f"{where}: expected names as keys, found {key!r:.50}")
        out[str.__str__(key)], size = plain(item, f"{where}.{key:.50}", depth + 1)
        total += len(key) + size
    return out, total


def with_reasoning(message: dict[str, Any]) -> dict[str, Any]:
    """A message with its reasoning under the names that templates know, as transformers has it."""
    found = (message[name] for name in REASONING_FIELDS if message.get(name) is not None)
    reasoning = next(found, None)
    if reasoning is None:
        return message
    return {"thinking": reasoning, **message, "reasoning_content": reasoning}
