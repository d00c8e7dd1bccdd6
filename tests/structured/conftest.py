"""The demo model's vocabulary, and texts read by a constraint byte by byte."""

from __future__ import annotations

import pytest
from grammars import DEMO_MODEL, Accepts

from gguf_run.structured import Constraint
from gguf_run.structured.factory import ConstraintFactory
from gguf_run.tokenizer import Tokenizer


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_gguf(DEMO_MODEL)


@pytest.fixture(scope="session")
def factory(tokenizer: Tokenizer) -> ConstraintFactory:
    return ConstraintFactory(tokenizer, tokenizer.n_vocab)


@pytest.fixture(scope="session")
def accepts(tokenizer: Tokenizer) -> Accepts:
    """Whether a fresh constraint takes a whole text, given as single bytes."""
    pieces = [tokenizer.token_bytes(i, special=False) for i in range(tokenizer.n_vocab)]
    of_byte = {piece: token for token, piece in enumerate(pieces) if len(piece) == 1}
    (eog,) = tokenizer.eog_ids

    def accepts(constraint: Constraint, text: str) -> bool:
        for byte in text.encode():
            token = of_byte[bytes([byte])]
            if constraint.is_complete or not constraint.allows(token):
                return False
            constraint.accept(token)
        return constraint.is_complete or constraint.allows(eog)

    return accepts
