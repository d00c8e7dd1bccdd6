"""BPE: merges by rank inside words, through the `tokenizers` library."""

from __future__ import annotations

import re
from functools import cached_property
from itertools import chain, count
from typing import TYPE_CHECKING

from gguf_run.tokenizer.pretokenizers import PreTokenizer
from gguf_run.tokenizer.spm import SPACE
from gguf_run.tokenizer.vocab import Kind, Vocab

if TYPE_CHECKING:
    from tokenizers import Tokenizer as WordTokenizer
    from tokenizers.models import BPE

_NEWLINES = re.compile(r"(\n+)")
_SURROGATES = re.compile("[\ud800-\udfff]")
_WHITESPACE = r"\s+"


class BpeEncoder:
    """Encodes plain text with a BPE vocabulary; built at the first use.

    The library has a vocabulary of its own: the file's, and behind it one id for characters that no
    token has and ids for texts that merges make though no token has them. llama.cpp drops the
    former and spells the latter in bytes; so does `_spell`.
    """

    def __init__(self, vocab: Vocab, pre: PreTokenizer) -> None:
        self._vocab = vocab
        self._pre = pre
        self._strays: list[str] = []

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
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        ids: list[int] = encoding.ids
        n_tokens = self._vocab.n_tokens
        if max(ids, default=0) < n_tokens:
            return ids
        spelt: list[int] = []
        for token, (start, end) in zip(ids, encoding.offsets, strict=True):
            if token < n_tokens:
                spelt.append(token)
            elif token > n_tokens:
                spelt.extend(self._spell(self._strays[token - n_tokens - 1]))
            elif self._pre.raw:
                spelt.extend(self._spell(text[start:end]))
        return spelt

    def _spell(self, text: str) -> list[int]:
        """The byte tokens of a text without a token of its own; absent ones are left out."""
        if self._pre.raw:
            names = [f"<0x{byte:02X}>" for byte in text.encode()]
        else:
            names = [char for char in text if char.isascii()]
        known = self._vocab.token_to_id
        return [known[name] for name in names if name in known]

    @cached_property
    def _tokenizer(self) -> WordTokenizer:
        # Imported here: opening a model with another tokenizer need not pay for it.
        from tokenizers import Regex, Tokenizer
        from tokenizers.pre_tokenizers import ByteLevel, Sequence, Split

        steps: list[Split | ByteLevel] = [
            Split(Regex(cut.regex()), cut.join) for cut in self._pre.cuts
        ]
        if self._vocab.kind is Kind.WHITESPACE:
            steps.insert(0, Split(Regex(_WHITESPACE), "removed"))
        if not self._pre.raw:
            steps.append(ByteLevel(add_prefix_space=False, use_regex=False))
        tokenizer = Tokenizer(self._model())
        tokenizer.pre_tokenizer = Sequence(steps)
        return tokenizer

    def _model(self) -> BPE:
        from tokenizers.models import BPE

        vocab = dict(self._vocab.token_to_id)
        merges = _pairs(self._vocab.merges)
        # What has bytes that are no UTF-8 can't be met in a text, and the library refuses it.
        if _SURROGATES.search("".join(vocab)):
            vocab = {text: i for text, i in vocab.items() if not _SURROGATES.search(text)}
        strays = _texts(merges) - vocab.keys()
        if any(map(_SURROGATES.search, strays)):
            merges = [pair for pair in merges if not _SURROGATES.search("".join(pair))]
            strays = _texts(merges) - vocab.keys()
        unknown = "\x01"
        while unknown in vocab or unknown in strays:
            unknown += "\x01"
        self._strays = sorted(strays)
        vocab.update(zip((unknown, *self._strays), count(self._vocab.n_tokens), strict=False))
        return BPE(vocab, merges, unk_token=unknown, ignore_merges=self._pre.ignore_merges)


def _pairs(merges: list[str]) -> list[tuple[str, str]]:
    """Left and right token of each merge; of equal ones the first (the library takes the last)."""
    return [(m[:gap], m[gap + 1 :]) for m in dict.fromkeys(merges) for gap in (m.find(" ", 1),)]


def _texts(merges: list[tuple[str, str]]) -> set[str]:
    """All texts that merges name or make."""
    return set(chain.from_iterable(merges)).union(map("".join, merges))
