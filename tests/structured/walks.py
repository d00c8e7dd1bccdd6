"""Random texts of a constraint, drawn with no model."""

from __future__ import annotations

import random
from collections.abc import Collection

import numpy as np

from gguf_run.chat.reply import overlap
from gguf_run.structured import Constraint
from gguf_run.tokenizer import Tokenizer


class Walker:
    """Draws texts among what constraints allow; likes to come to an end."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._pieces = [tokenizer.token_bytes(token) for token in range(tokenizer.n_vocab)]
        self._by_piece = {piece: token for token, piece in enumerate(self._pieces) if piece}
        self._eog_ids = tokenizer.eog_ids
        self._closing = [
            token
            for token, piece in enumerate(self._pieces)
            if piece[:1] in b'"<>}])|' or piece in b"\n"
        ]

    def text(
        self, constraint: Constraint, seed: int, ends: Collection[str] = (), limit: int = 600
    ) -> str | None:
        """A text of the constraint; None: it did not come to its end. `ends` are favoured."""
        rng = random.Random(seed)
        text = b""
        for _ in range(limit):
            mask = constraint.mask()
            if rng.random() < 0.5 and any(mask[token] for token in self._eog_ids):
                return text.decode()
            token = self._next(rng, mask, text, ends)
            if token in self._eog_ids:
                return text.decode()
            constraint.accept(token)
            text += self._pieces[token]
            if constraint.is_complete:
                return text.decode()
        return None

    def _next(
        self, rng: random.Random, mask: np.ndarray, text: bytes, ends: Collection[str]
    ) -> int:
        if ends and rng.random() < 0.7:
            said = text.decode(errors="replace")
            end = max(ends, key=lambda end: overlap(said, end) + rng.random())
            rest = end[overlap(said, end) :].encode()
            for n in range(len(rest), 0, -1):
                token = self._by_piece.get(rest[:n], -1)
                if token >= 0 and mask[token]:
                    return token
        closing = [token for token in self._closing if mask[token]]
        if closing and rng.random() < 0.6:
            return rng.choice(closing)
        return int(rng.choice(list(np.flatnonzero(mask))))
