"""Draws the tokens of a text that may be bound to a grammar."""

from __future__ import annotations

from dataclasses import dataclass

import numpy.typing as npt

from gguf_run.sampling import Sampled, SamplerChain
from gguf_run.structured.constraint import Constraint


@dataclass(frozen=True, slots=True)
class Drawer:
    """A sampler chain, and what its tokens are bound to; both of one sequence."""

    chain: SamplerChain
    constraint: Constraint | None = None

    @property
    def is_greedy(self) -> bool:
        """Whether `draw` gives the likeliest token of the logits as they come."""
        return self.constraint is None and self.chain.is_greedy

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
        return sampled
