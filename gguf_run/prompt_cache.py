"""Keys and values that stay from one prompt to the next, for prompts that begin alike.

The turns of a chat are such prompts. `PromptCache` keeps the sequence of the last generation; the
next prompt goes back to what both have in common, and only the rest is evaluated.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from collections.abc import Sequence as List
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, TypeGuard

from gguf_run.engine import Engine
from gguf_run.errors import ModelError
from gguf_run.kv_cache import Sequence
from gguf_run.state_file import load_state, save_state
from gguf_run.tokenizer import Tokenizer
from gguf_run.tokenizer.attributes import Attr


@dataclass(slots=True)
class Past:
    """A text and its tokens; `cuts` are places, in characters and tokens, where both can be cut.

    What a model has written may be other tokens than a tokenizer makes of the same text: they are
    taken over as they are, from cut to cut.
    """

    text: str = ""
    tokens: list[int] = field(default_factory=list)
    cuts: list[tuple[int, int]] = field(default_factory=list)

    @classmethod
    def read(cls, value: object) -> Past | None:
        """What `asdict` and JSON made of one; None where `value` is something else."""
        if not isinstance(value, dict):
            return None
        text, tokens, cuts = (value.get(name) for name in ("text", "tokens", "cuts"))
        if not (isinstance(text, str) and _are_numbers(tokens) and isinstance(cuts, list)):
            return None
        if not all(_are_numbers(cut) and len(cut) == 2 for cut in cuts):
            return None
        if not all(0 < n[0] <= len(text) and 0 < n[1] <= len(tokens) for n in cuts):
            return None
        return cls(text, tokens, [(n_chars, n_tokens) for n_chars, n_tokens in cuts])


class PromptCache:
    """One sequence, kept between generations until the engine needs its room.

    Attributes:
        past: what it has seen; stays when the room is given back, and is then evaluated again.
    """

    def __init__(self, engine: Engine, tokenizer: Tokenizer) -> None:
        self.past = Past()
        self._engine = engine
        self._tokenizer = tokenizer
        self._seq: Sequence | None = None

    def encode(self, text: str) -> list[int]:
        """The tokens of a prompt in which control tokens are spelt out: as few as possible are
        others than the past's.

        BOS comes first where the model wants it, once.
        """
        past = self.past
        n_same = _n_common(text, past.text)
        while past.cuts:
            n_chars, n_tokens = past.cuts[-1]
            rest = self._encode(text[n_chars:]) if n_chars <= n_same else []
            # A control token is one however the text before it is cut.
            if rest and self._is_control(rest[0]):
                return past.tokens[:n_tokens] + rest
            past.cuts.pop()
        ids = self._encode(text)
        bos = self._tokenizer.bos
        if self._tokenizer.add_bos and bos is not None and ids[:1] != [bos]:
            ids.insert(0, bos)
        return ids

    def open(self, text: str, prompt: list[int]) -> Kept:
        """What a generation runs in that continues a prompt.

        Args:
            text: of the prompt.
            prompt: what `encode` made of it.
        """
        return Kept(self, text, prompt)

    def take(self, prompt: list[int]) -> Sequence:
        """The sequence, holding what of `prompt` is there already, the last token left out."""
        self._engine.idle.pop(self, None)
        seq, self._seq = self._seq, None
        if seq is None:
            seq = self._engine.new_sequence()
        self._engine.make_room(seq)
        seq.rollback(min(_n_common(seq.tokens, prompt), len(prompt) - 1))
        return seq

    def keep(self, seq: Sequence, text: str, prompt: list[int], drawn: list[int]) -> None:
        """Keep the sequence that `take` gave, and what it has seen: a prompt, and tokens drawn."""
        said = drawn[:-1] if drawn and self._tokenizer.is_eog(drawn[-1]) else drawn
        text += self._spelt(said)
        self.past.text, self.past.tokens = text, prompt + said
        self.past.cuts.append((len(text), len(self.past.tokens)))
        self.release()
        self._hold(seq)

    def release(self) -> None:
        """Give the room back."""
        self._engine.idle.pop(self, None)
        if self._seq is not None:
            self._seq.close()
            self._seq = None

    def cut(self, n_tok: int) -> None:
        """Forget what comes after the first `n_tok` tokens; of keys, values and states perhaps more
        (see `Sequence.rollback`)."""
        if self._seq is not None:
            self._seq.rollback(min(n_tok, len(self._seq)))
        del self.past.tokens[n_tok:]
        self.past.cuts = [cut for cut in self.past.cuts if cut[1] <= n_tok]

    def save(self, path: str | os.PathLike[str], content: Mapping[str, Any] | None = None) -> None:
        """Write the sequence with its keys, values and states to a file, and `content` for JSON.

        Raises `OSError` where that can't be.
        """
        written = {**(content or {}), "past": asdict(self.past)}
        save_state(Path(path), self._engine, self._seq, written)

    def load(self, path: str | os.PathLike[str]) -> dict[str, Any]:
        """Take over what `save` wrote -> its `content`.

        Raises:
            ModelError: the file is none of `save`'s, damaged, or of another model or choice of
                caches; then `past` stays as it was.
            OSError: it can't be read.
        """
        seq, content = load_state(Path(path), self._engine)
        past = Past.read(content.get("past"))
        if past is None or not self.knows(past.tokens):
            if seq is not None:
                seq.close()
            raise ModelError(f"{path}: expected a saved prompt, found a damaged one")
        self.release()
        self.past = past
        if seq is not None:
            self._hold(seq)
        return content

    def knows(self, tokens: List[int]) -> bool:
        """Whether these are all tokens of the vocabulary."""
        return all(0 <= token < self._tokenizer.n_vocab for token in tokens)

    def _hold(self, seq: Sequence) -> None:
        self._seq = seq
        self._engine.idle[self] = self.release

    def _encode(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, add_special=False, parse_special=True)

    def _is_control(self, token: int) -> bool:
        return bool(int(self._tokenizer.vocab.attrs[token]) & Attr.CONTROL)

    def _spelt(self, ids: list[int]) -> str:
        streamer = self._tokenizer.streamer(special=True, continuation=True)
        return "".join(map(streamer.push, ids)) + streamer.flush()


class Kept:
    """A context manager that lends a cache's sequence to one generation.

    Afterwards the cache holds what the sequence has then; after an error, nothing.

    Attributes:
        drawn: the tokens of the generation, to be filled in.
    """

    def __init__(self, cache: PromptCache, text: str, prompt: list[int]) -> None:
        self.drawn: list[int] = []
        self._cache = cache
        self._text = text
        self._prompt = prompt
        self._seq: Sequence | None = None

    def __enter__(self) -> Sequence:
        self._seq = self._cache.take(self._prompt)
        return self._seq

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._seq is not None
        if kind is None or kind is GeneratorExit:
            self._cache.keep(self._seq, self._text, self._prompt, self.drawn)
        else:
            # A step may have been cut off in its middle.
            self._seq.close()


def _n_common(one: List[object], other: List[object]) -> int:
    """How many characters or tokens both begin with."""
    pairs = zip(one, other, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def _are_numbers(value: object) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(type(number) is int for number in value)
