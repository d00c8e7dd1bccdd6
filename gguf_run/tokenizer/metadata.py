"""Typed, checked access to a file's `tokenizer.ggml.*` keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from gguf_run.errors import ModelError
from gguf_run.loader import MetaValue

PREFIX = "tokenizer.ggml."
_UNSET_ID = 0xFFFFFFFF
"""What converters write for a token id that the model lacks: -1 in 32 bits."""


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one file; every failure is a ModelError that names file, key and finding."""

    metadata: Mapping[str, MetaValue]
    source: str

    def fail(self, key: str, expected: str, found: str) -> NoReturn:
        """Raise the ModelError for `key` (its name behind `tokenizer.ggml.`)."""
        raise ModelError(
            f"{self.source}: key {PREFIX}{key}: expected {expected}, found {found}; "
            "the file's vocabulary is damaged, convert or download the model again"
        )

    def get(self, key: str) -> Any:
        """The raw value of `tokenizer.ggml.<key>`, or None."""
        return self.metadata.get(PREFIX + key)

    def text(self, key: str, default: str | None = None) -> str:
        """A string; without a default the key must be there."""
        value = self.get(key)
        if value is None and default is not None:
            return default
        if not isinstance(value, str):
            self.fail(key, "a string", _describe(value))
        return value

    def flag(self, key: str, default: bool) -> bool:
        """A boolean."""
        value = self.get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            self.fail(key, "a boolean", _describe(value))
        return value

    def token_id(self, key: str, n_tokens: int, default: int | None) -> int | None:
        """A token id below `n_tokens`; the default where the key is absent or says "none".

        A default that the vocabulary is too small for is None.
        """
        value = self.get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
            self.fail(key, "a token id (an integer)", _describe(value))
        if value is None or value in (_UNSET_ID, -1):
            return default if default is not None and default < n_tokens else None
        if not 0 <= value < n_tokens:
            self.fail(key, f"a token id in 0..{n_tokens - 1}", str(value))
        return value

    def strings(self, key: str) -> list[str]:
        """An array of strings, which must be there."""
        value = self.get(key)
        if isinstance(value, np.ndarray) and value.size == 0:
            return []
        if not isinstance(value, list):
            self.fail(key, "an array of strings", _describe(value))
        if set(map(type, value)) - {str}:
            odd = next(i for i, item in enumerate(value) if not isinstance(item, str))
            self.fail(key, "an array of strings", f"{_describe(value[odd])} at index {odd}")
        return value

    def numbers(self, key: str, kinds: str, n_least: int) -> npt.NDArray[np.generic] | None:
        """An array of at least `n_least` numbers of the NumPy kinds ("i", "u", "f"), or None."""
        value = self.get(key)
        if value is None:
            return None
        if not isinstance(value, np.ndarray) or value.dtype.kind not in kinds:
            what = "integers" if "f" not in kinds else "numbers"
            self.fail(key, f"an array of {what}", _describe(value))
        if value.ndim != 1 or value.size < n_least:
            self.fail(key, f"{n_least} entries, one a token", f"{value.size}")
        return value


def _describe(value: object) -> str:
    if value is None:
        return "no such key"
    if isinstance(value, np.ndarray):
        return f"an array of {value.size} {value.dtype.name}"
    if isinstance(value, list):
        return f"an array of {len(value)}"
    return f"{type(value).__name__} {value!r:.60}"
