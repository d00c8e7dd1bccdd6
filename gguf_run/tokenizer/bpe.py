"""BPE: words cut by the `tokenizers` library's regular expressions, then merged by rank."""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING

from gguf_run.tokenizer.merging import Merges
from gguf_run.tokenizer.pretokenizers import PreTokenizer
from gguf_run.tokenizer.spm import SPACE
from gguf_run.tokenizer.vocab import Kind, Vocab

if TYPE_CHECKING:
    from tokenizers.pre_tokenizers import ByteLevel, Sequence, Split

_NEWLINES = re.compile(r"(\n+)")
_WHITESPACE = r"\s+"


class BpeEncoder:
    """Encodes plain text with a BPE vocabulary; its tables are built at the first use.

    Words are merged here and not by the library, whose model of a real vocabulary takes ten times
    as long to build as all else of opening a file, and is no faster on long texts.
    """

    def __init__(self, vocab: Vocab, pre: PreTokenizer) -> None:
        self._vocab = vocab
        self._pre = pre

    def encode(self, text: str, at_start: bool) -> list[int]:
        """Ids of `text`; `at_start` has no effect."""
        if self._vocab.kind is Kind.WHITESPACE and self._vocab.lowercase:
            text = "".join(char.lower()[0] for char in text)
        if self._pre.escape_spaces:
            text = text.replace(" ", SPACE)
        if not self._pre.newline_tokens:
            return self._encode(text)
        ids: list[int] = []
        for part in _NEWLINES.split(text):
            if part.startswith("\n") and part in self._vocab.token_to_id:
                ids.append(self._vocab.token_to_id[part])
            elif part:
                ids.extend(self._encode(part))
        return ids

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = []
        known: dict[str, list[int]] = {}
        for word, _ in self._cuts.pre_tokenize_str(text):
            if word not in known:
                known[word] = self._word(word)
            ids += known[word]
        return ids

    def _word(self, word: str) -> list[int]:
        known = self._vocab.token_to_id
        if self._pre.ignore_merges and word in known:
            return [known[word]]
        ids: list[int] = []
        for part in self._merges.apply(word):
            ids += [known[part]] if part in known else self._spell(part)
        return ids

    def _spell(self, text: str) -> list[int]:
        """The byte tokens of a text without a token of its own; absent ones are left out."""
        if self._pre.raw:
            names = [f"<0x{byte:02X}>" for byte in text.encode()]
        else:
            names = [char for char in text if char.isascii()]
        known = self._vocab.token_to_id
        return [known[name] for name in names if name in known]

    @cached_property
    def _merges(self) -> Merges:
        return Merges(self._vocab.merges)

    @cached_property
    def _cuts(self) -> Sequence:
        # Imported here: opening a model with another tokenizer need not pay for it.
        from tokenizers import Regex
        from tokenizers.pre_tokenizers import ByteLevel, Sequence, Split

        steps: list[Split | ByteLevel] = [
            Split(Regex(cut.regex()), cut.join) for cut in self._pre.cuts
        ]
        if self._vocab.kind is Kind.WHITESPACE:
            steps.insert(0, Split(Regex(_WHITESPACE), "removed"))
        if not self._pre.raw:
            steps.append(ByteLevel(add_prefix_space=False, use_regex=False))
        return Sequence(steps)
