"""The steps of a chain: samplers, which narrow or reweigh, and the selector, which draws."""

from __future__ import annotations

import copy
from typing import ClassVar, TypeVar

from gguf_run.sampling.candidates import F64, Candidates

S = TypeVar("S", bound="Sampler")


class Sampler:
    """One step of the chain. It has no state unless it overrides more than `apply`."""

    #: The likeliest candidate stays so: at the end of a greedy chain the step can be left out.
    keeps_best: ClassVar[bool] = False

    def apply(self, candidates: Candidates) -> None:
        """Narrow, reweigh or reorder the candidates in place."""
        raise NotImplementedError

    def accept(self, token: int) -> None:
        """Take note of a token that now stands in the text, of the prompt or generated."""

    def reset(self) -> None:
        """Forget all tokens and start the draws anew."""

    def clone(self: S) -> S:
        """A sampler that will do the same, on its own."""
        twin = copy.copy(self)
        twin._unshare()
        return twin

    def _unshare(self) -> None:
        """Replace mutable state, shared with the sampler this is a copy of, by copies."""


class Selector(Sampler):
    """The last step. `weigh` makes the final distribution, `draw` picks a candidate of it."""

    def weigh(self, candidates: Candidates) -> F64:
        """Leave the distribution in `candidates.probs`; returns its running sums, in any unit."""
        raise NotImplementedError

    def draw(self, candidates: Candidates, running: F64) -> int:
        """The position of the candidate drawn, from what `weigh` left and returned."""
        raise NotImplementedError

    def skip(self) -> None:
        """Leave out a draw that was made elsewhere."""
