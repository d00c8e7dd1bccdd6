"""What draws a model's tokens: made from the file's defaults and a caller's options."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from gguf_run.errors import ModelError
from gguf_run.loader import MetaValue
from gguf_run.sampling import SamplerChain, SamplingParams, file_defaults, sequence_breakers
from gguf_run.structured import Drawer
from gguf_run.tokenizer import Tokenizer

if TYPE_CHECKING:
    from gguf_run.structured import Constraint, ReasoningBudget, ReplyPlan
    from gguf_run.structured.factory import ConstraintFactory


class Drawers:
    """Makes drawers for one model; what is costly is made once."""

    def __init__(
        self, metadata: Mapping[str, MetaValue], tokenizer: Callable[[], Tokenizer], n_vocab: int
    ) -> None:
        """Args:
        metadata: of the file.
        tokenizer: gives the file's tokenizer.
        n_vocab: logits that a position has.
        """
        self._metadata = metadata
        self._get_tokenizer = tokenizer
        self._n_vocab = n_vocab
        self._constraints: ConstraintFactory | None = None
        self._breakers: dict[tuple[str, ...], dict[int, list[tuple[int, ...]]]] = {}

    def make(
        self,
        *,
        ignore_eos: bool = False,
        grammar: str | None = None,
        json_schema: Mapping[str, Any] | str | None = None,
        regex: str | None = None,
        logprobs: int = 0,
        reply: ReplyPlan | None = None,
        reasoning_budget: int | None = None,
        **sampling: Any,
    ) -> Drawer:
        """A drawer for one generation; arguments as for `Model.generate`, None is the default.

        Args:
            reply: of a chat; a grammar binds its content, and tools its calls.
            reasoning_budget: as for `Model.chat`.

        Raises:
            ModelError: a parameter is out of range, or a grammar is wrong.
        """
        if logprobs < 0:
            raise ModelError(f"logprobs: expected at least 0, found {logprobs}")
        tokenizer = self._get_tokenizer()
        never = set(tokenizer.vocab.suppressed)
        if ignore_eos:
            never |= tokenizer.eog_ids
        ruled_out = dict.fromkeys(sorted(never), -np.inf)
        given = {name: value for name, value in sampling.items() if value is not None}
        given["logit_bias"] = {**given.get("logit_bias", {}), **ruled_out}
        params = SamplingParams(**{**file_defaults(self._metadata, given), **given})
        chain = SamplerChain(params, self._n_vocab, self._dry_breakers(params))
        constraint = self._constraint(grammar, json_schema, regex, reply)
        return Drawer(chain, constraint, logprobs, self._budget(reasoning_budget, reply))

    def _constraint(
        self,
        grammar: str | None,
        json_schema: Mapping[str, Any] | str | None,
        regex: str | None,
        reply: ReplyPlan | None,
    ) -> Constraint | None:
        calls = reply is not None and reply.tools
        if grammar is None and json_schema is None and regex is None and not calls:
            return None
        if self._constraints is None:
            from gguf_run.structured.factory import ConstraintFactory

            self._constraints = ConstraintFactory(self._get_tokenizer(), self._n_vocab)
        return self._constraints.make(grammar, json_schema, regex, reply)

    def _budget(self, n: int | None, reply: ReplyPlan | None) -> ReasoningBudget | None:
        """What bounds the reasoning, where the model's replies have some."""
        if n is not None and n < -1:
            raise ModelError(f"reasoning_budget: expected at least -1, found {n}")
        marks = reply.form.reasoning if reply is not None else None
        if n is None or n < 0 or reply is None or marks is None:
            return None
        from gguf_run.structured import ReasoningBudget

        tokenizer = self._get_tokenizer()
        end = tokenizer.encode(marks[1], add_special=False, parse_special=True)
        return ReasoningBudget(n, marks, reply.prompt, tokenizer.token_bytes, end)

    def _dry_breakers(self, params: SamplingParams) -> dict[int, list[tuple[int, ...]]] | None:
        """The breakers as tokens, where DRY is on; a scan of the vocabulary, made once a set."""
        if not params.dry_multiplier:
            return None
        texts = tuple(params.dry_sequence_breakers)
        if texts not in self._breakers:
            tokenizer = self._get_tokenizer()
            pieces = [
                tokenizer.decode([token], special=True).encode()
                for token in range(tokenizer.n_vocab)
            ]
            self._breakers[texts] = sequence_breakers(
                texts, pieces, lambda text: tokenizer.encode(text, add_special=False)
            )
        return self._breakers[texts]
