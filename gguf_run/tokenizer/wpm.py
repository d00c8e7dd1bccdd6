"""WPM: BERT's WordPiece: words, and in each the longest tokens from the left."""

from __future__ import annotations

import unicodedata

from gguf_run.errors import ModelError
from gguf_run.tokenizer.spm import SPACE
from gguf_run.tokenizer.vocab import Vocab

# Each of these is a word of its own.
_CHINESE = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B920, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)
_WHITESPACE = frozenset(
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)


class WpmEncoder:
    """Encodes plain text with a WordPiece vocabulary whose word starts carry U+2581."""

    def __init__(self, vocab: Vocab) -> None:
        self._vocab = vocab
        self._normal = _Normaliser(vocab.lowercase, vocab.strip_accents)
        self._longest = max(map(len, vocab.tokens))

    def encode(self, text: str, at_start: bool) -> list[int]:
        """Ids of `text`; `at_start` has no effect.

        Raises:
            ModelError: a word has no tokens, and the vocabulary no token for unknown words.
        """
        ids: list[int] = []
        words: dict[str, list[int]] = {}
        for word in filter(None, text.translate(self._normal).split(" ")):
            if word not in words:
                words[word] = self._pieces(SPACE + word)
            ids.extend(words[word])
        return ids

    def _pieces(self, word: str) -> list[int]:
        ids: list[int] = []
        start = 0
        while start < len(word):
            ends = range(min(len(word), start + self._longest), start, -1)
            end = next((end for end in ends if word[start:end] in self._vocab.token_to_id), None)
            if end is None:
                return [self._unknown()]
            ids.append(self._vocab.token_to_id[word[start:end]])
            start = end
        return ids

    def _unknown(self) -> int:
        if self._vocab.special.unk is None:
            raise ModelError(
                f"{self._vocab.source}: key tokenizer.ggml.unknown_token_id: expected the token "
                "for unknown words, found no such key; convert the model again"
            )
        return self._vocab.special.unk


class _Normaliser(dict[int, str]):
    """Code point -> what stands for it, made as needed; words end at spaces."""

    def __init__(self, lowercase: bool, strip_accents: bool) -> None:
        super().__init__()
        self._lowercase = lowercase
        self._strip_accents = strip_accents

    def __missing__(self, code: int) -> str:
        self[code] = self._normal(chr(code))
        return self[code]

    def _normal(self, char: str) -> str:
        if self._strip_accents:
            # llama.cpp keeps the first character of a decomposition alone, of Hangul too.
            char = unicodedata.normalize("NFD", char)[0]
        category = unicodedata.category(char)
        if char in _WHITESPACE:
            return " "
        control = category[0] == "C" and category != "Cn"
        if char in "\0\ufffd" or control or (self._strip_accents and category[0] == "M"):
            return ""
        mark = category[0] == "P" or (category[0] == "S" and ord(char) < 0x7F)
        alone = mark or any(low <= ord(char) <= high for low, high in _CHINESE)
        if self._lowercase:
            char = char.lower()[0]
        return f" {char} " if alone else char
