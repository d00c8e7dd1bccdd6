"""Draws the tokens of a text that may be bound to a grammar."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from gguf_run.sampling import DeviceSampling, Sampled, SamplerChain, likeliest
from gguf_run.structured.budget import ReasoningBudget
from gguf_run.structured.constraint import Constraint


@dataclass(frozen=True, slots=True)
class Drawer:
    """A sampler chain, and what its tokens are bound to; both of one sequence.

    `n_top` of the likeliest tokens are told beside each that is drawn. A `budget` may force tokens.
    """

    chain: SamplerChain
    constraint: Constraint | None = None
    n_top: int = 0
    budget: ReasoningBudget | None = None

    def on_device(self) -> DeviceSampling | None:
        """What a device needs to draw the next tokens by itself; None where it can't."""
        bound = self.constraint is not None or self.budget is not None
        return None if bound or self.n_top else self.chain.on_device()

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
        forced = self._forced()
        if forced is None:
            sampled = self.chain.sample(logits)
            if self.constraint is not None and not self.constraint.allows(sampled.token):
                sampled = self.chain.sample(logits, self.constraint.mask())
        else:
            sampled = self.chain.sample(logits, np.arange(np.size(logits)) == forced)
        for taking_note in (self.constraint, self.budget, self.chain):
            if taking_note is not None:
                taking_note.accept(sampled.token)
        return replace(sampled, top=likeliest(logits, self.n_top)) if self.n_top else sampled

    def _forced(self) -> int | None:
        """The token that the budget wants, unless the grammar forbids it."""
        forced = self.budget.forced if self.budget is not None else None
        if forced is None or self.constraint is None or self.constraint.allows(forced):
            return forced
        assert self.budget is not None
        self.budget.stop()
        return None
