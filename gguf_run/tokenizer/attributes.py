"""What kind of thing a token is."""

from __future__ import annotations

import enum
from typing import TypeAlias

import numpy as np
import numpy.typing as npt


class Attr(enum.IntFlag):
    """Properties of a token; a file states one of the first seven, some models add the others."""

    UNDEFINED = 0
    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 4
    USER_DEFINED = 8
    UNUSED = 16
    BYTE = 32
    LSTRIP = 64
    """Whitespace before the token in a text belongs to it."""
    RSTRIP = 128
    """Whitespace after the token in a text belongs to it."""


HIDDEN = Attr.CONTROL | Attr.UNKNOWN
"""Tokens without text of their own: decoded only when asked for."""
SPECIAL = HIDDEN | Attr.USER_DEFINED
"""Tokens that are found in a text before any other step."""

Attrs: TypeAlias = npt.NDArray[np.uint8]

# By the numbers 0..6 of `tokenizer.ggml.token_type`.
_BY_TYPE = np.array(
    [
        Attr.UNDEFINED,
        Attr.NORMAL,
        Attr.UNKNOWN,
        Attr.CONTROL,
        Attr.USER_DEFINED,
        Attr.UNUSED,
        Attr.BYTE,
    ],
    dtype=np.uint8,
)


def attributes(types: npt.NDArray[np.generic] | None, n_tokens: int) -> Attrs:
    """One Attr a token, shape (n_tokens,); without `types` all are normal."""
    if types is None:
        return np.full(n_tokens, Attr.NORMAL, np.uint8)
    numbers = types[:n_tokens].astype(np.int64)
    known = (numbers >= 0) & (numbers < len(_BY_TYPE))
    return _BY_TYPE[np.where(known, numbers, 0)]
