"""Draws the tokens of a text that may be bound to a grammar."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy.typing as npt

from gguf_run.sampling import DeviceSampling, Sampled, SamplerChain, likeliest
from gguf_run.structured.constraint import Constraint


@dataclass(frozen=True, slots=True)
class Drawer:
    """A sampler chain, and what its tokens are bound to; both of one sequence.

    `n_top` of the likeliest tokens are told beside each that is drawn.
    """

    chain: SamplerChain
    constraint: Constraint | None = None
    n_top: int = 0

    def on_device(self) -> DeviceSampling | None:
        """What a device needs to draw the next tokens by itself; None where it can't."""
        return None if self.constraint is not None or self.n_top else self.chain.on_device()

    @property
    def is_complete(self) -> bool:
        """Whether the grammar's text has come to an end that nothing may follow."""
        return self.constraint is not None and self.constraint.is_complete

    def look_ahead(self) -> None:
        """Find out what may come next, without waiting for the logits."""
        if self.constraint is not None:
            self.constraint.mask()

    def draw(self, logits: npt.ArrayLike) -> Sampled:
        """Draw a token and take note of it.

        As in llama.cpp, the first draw is free; where the grammar forbids what it gave, another is
        made among the tokens that the grammar allows. Errors are those of `SamplerChain.sample`,
        `Constraint.mask` and `Constraint.accept`.
        """
        sampled = self.chain.sample(logits)
        if self.constraint is not None:
            if not self.constraint.allows(sampled.token):
                sampled = self.chain.sample(logits, self.constraint.mask())
            self.constraint.accept(sampled.token)
        self.chain.accept(sampled.token)
        return replace(sampled, top=likeliest(logits, self.n_top)) if self.n_top else sampled
