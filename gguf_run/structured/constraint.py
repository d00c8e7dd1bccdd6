"""What a text of one sequence may go on with, by its grammar."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from gguf_run.errors import ModelError

if TYPE_CHECKING:
    import llguidance as ll

Mask = npt.NDArray[np.bool_]


class Constraint:
    """Follows one text through a grammar; made by `ConstraintFactory`.

    A token may come where its bytes continue some text of the grammar, and one that ends the
    generation where the text so far is one of the grammar's.
    """

    def __init__(self, matcher: ll.LLMatcher, n_logits: int, eog_ids: frozenset[int]) -> None:
        self._matcher = matcher
        self._n_logits = n_logits
        self._eog_ids = eog_ids
        self._eog = np.array([token for token in eog_ids if token < n_logits], np.intp)
        self._mask: Mask | None = None

    @property
    def is_complete(self) -> bool:
        """Whether the text is one of the grammar's, and no longer one begins with it."""
        return self._matcher.is_stopped() and not self._matcher.is_error()

    def allows(self, token: int) -> bool:
        """Whether `token` may come next; much less work than `mask`, unless that is known."""
        if self._mask is not None:
            return bool(self._mask[token])
        if token in self._eog_ids:
            return self._matcher.is_accepting()
        return self._matcher.validate_tokens([token]) == 1

    def mask(self) -> Mask:
        """Which tokens may come next, bool (n_logits,).

        Raises:
            ModelError: none may, as the vocabulary has no fitting one, or the grammar is so
                ambiguous that the text can't be followed in bounded time and memory.
        """
        if self._mask is None:
            self._mask = self._computed_mask()
        return self._mask

    def accept(self, token: int) -> None:
        """Take note of a token of the text; `allows(token)` must hold."""
        if token not in self._eog_ids:
            self._mask = None
            self._matcher.consume_token(token)
            self._check()

    def _computed_mask(self) -> Mask:
        bits = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        self._check()
        allowed = np.unpackbits(bits, count=self._n_logits, bitorder="little").view(np.bool_)
        allowed[self._eog] = self._matcher.is_accepting()
        if not allowed.any():
            raise ModelError(
                "structured output: expected a token that continues the text, found none in the "
                "vocabulary; allow characters that the model can write"
            )
        return allowed

    def _check(self) -> None:
        if not self._matcher.is_error():
            return
        reason = self._matcher.get_error().split("\n", 1)[0]
        if reason.startswith("NoExtension"):
            raise ModelError(
                "structured output: expected a grammar or schema that some text fulfils, found one "
                "that none does; give what refers to itself another option"
            )
        raise ModelError(
            f"structured output: expected a text that can be followed, found: {reason}; "
            "make the grammar less ambiguous"
        )
