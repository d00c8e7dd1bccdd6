"""UGM: SentencePiece's unigram model (arXiv:1804.10959), of T5 and of XLM-RoBERTa's family."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from gguf_run.errors import ModelError
from gguf_run.tokenizer.attributes import Attr
from gguf_run.tokenizer.spm import SPACE
from gguf_run.tokenizer.vocab import Vocab

_IN_TEXTS = Attr.NORMAL | Attr.USER_DEFINED | Attr.UNUSED
_UNKNOWN_PENALTY = 10.0
"""By so much an unknown character is worse than the worst token (SentencePiece's constant)."""
MAX_TOKEN = 256
"""Characters of a token; SentencePiece's are 16 unless its user says otherwise."""
MAX_REPLACEMENT = 256
"""Bytes that a rule makes of its key; Unicode's longest, of a ligature, are 33."""


class UgmEncoder:
    """Encodes plain text with a unigram vocabulary: the likeliest tokens, by the sum of scores.

    Sums are float64 from the text's beginning on, as llama.cpp's: what else would tie is decided by
    their rounding.
    """

    def __init__(self, vocab: Vocab) -> None:
        self._vocab = vocab
        self._rules = Rules(vocab.charsmap, vocab.source)

    def encode(self, text: str, at_start: bool) -> list[int]:
        """Ids of `text`; `at_start` has no effect: every piece of plain text gets its space.

        Raises:
            ModelError: a character has no token, and the vocabulary no token for unknown ones.
        """
        text = self._spaced(self._rules.apply(text))
        ids: list[int] = []
        end = len(text)
        best = self._best(text)
        while end:
            start, token = best[end]
            # Neighbours that are unknown are one token.
            if token is not None or not ids or ids[-1] != self._unknown:
                ids.append(self._unknown if token is None else token)
            end = start
        return ids[::-1]

    def _spaced(self, text: str) -> str:
        """Spaces as tokens spell them: one before a word, of several in a row one."""
        words = [word for word in text.split(" ") if word]
        if self._vocab.merge_spaces:
            return "".join(SPACE + word for word in words)
        before = SPACE if self._vocab.add_space_prefix and words else ""
        return before + SPACE.join(words) + (SPACE if words and text[-1] == " " else "")

    def _best(self, text: str) -> list[tuple[int, int | None]]:
        """For each end in `text`, where its last token begins and which that is; None: unknown."""
        tokens, longest, unknown_score = self._tables
        sums = [0.0] + [-np.inf] * len(text)
        best: list[tuple[int, int | None]] = [(0, None)] * (len(text) + 1)
        for start, first in enumerate(text):
            before = sums[start]
            for end in range(start + 1, min(start + longest.get(first, 0), len(text)) + 1):
                found = tokens.get(text[start:end])
                if found is not None and before + found[1] > sums[end]:
                    sums[end], best[end] = before + found[1], (start, found[0])
            if first not in tokens and before + unknown_score > sums[start + 1]:
                sums[start + 1], best[start + 1] = before + unknown_score, (start, None)
        return best

    @cached_property
    def _tables(self) -> tuple[dict[str, tuple[int, float]], dict[str, int], float]:
        """Id and score of tokens by text, the longest token by first character, and the score of
        what is unknown."""
        vocab = self._vocab
        ids = np.flatnonzero(vocab.attrs & _IN_TEXTS)
        scores = np.where(vocab.attrs & Attr.USER_DEFINED, 0, vocab.scores.astype(np.float64))
        tokens = {vocab.tokens[i]: (i, float(scores[i])) for i in ids.tolist()}
        longest: dict[str, int] = {}
        for text in tokens:
            if len(text) > MAX_TOKEN:
                raise ModelError(
                    f"{vocab.source}: key tokenizer.ggml.tokens: expected texts of at most "
                    f"{MAX_TOKEN} characters, found one of {len(text)}"
                )
            longest[text[0]] = max(longest.get(text[0], 0), len(text))
        normal = vocab.scores[(vocab.attrs & Attr.NORMAL) != 0]
        worst = float(normal.min()) if normal.size else 0.0
        return tokens, longest, worst - _UNKNOWN_PENALTY

    @property
    def _unknown(self) -> int:
        if self._vocab.special.unk is None:
            raise ModelError(
                f"{self._vocab.source}: key tokenizer.ggml.unknown_token_id: expected the token "
                "for unknown characters, found no such key; convert the model again"
            )
        return self._vocab.special.unk


class Rules:
    """What replaces what before a text is cut into tokens, as SentencePiece compiles it.

    The length of a double array in bytes, the array (Aoe 1989, as in the library Darts-clone) of
    32-bit units, and texts with a NUL behind each. A unit's lowest 8 bits are the byte that leads
    to it, and its offset XORed with its own index is where its followers begin: with byte c goes on
    unit (index ^ offset) ^ c; where bit 8 says that a key ends, unit index ^ offset holds the place
    of the replacement.
    """

    def __init__(self, compiled: bytes, source: str) -> None:
        size = int.from_bytes(compiled[:4], "little")
        self._source = source
        self._units: list[int] = []
        self._texts = compiled[4 + size :]
        if compiled:
            if size % 4 or not 0 < size <= len(compiled) - 4:
                raise self._damaged(f"an array of {size} bytes in {len(compiled)}")
            self._units = np.frombuffer(compiled, "<u4", size // 4, offset=4).tolist()

    def apply(self, text: str) -> str:
        """The text with the longest rule applied at each place, from the left."""
        if not self._units:
            return text
        data, at = text.encode(), 0
        parts: list[bytes] = []
        while at < len(data):
            length, replacement = self._longest(data, at)
            if not length:
                length = _character_length(data[at])
                replacement = data[at : at + length]
            parts.append(replacement)
            at += length
        return b"".join(parts).decode(errors="replace")

    def _longest(self, data: bytes, at: int) -> tuple[int, bytes]:
        """Bytes of the longest key at a place, and what replaces them; 0 if there is none."""
        length = place = 0
        try:
            node = _followers(0, self._units[0])
            for i in range(at, len(data)):
                node ^= data[i]
                unit = self._units[node]
                if unit & 0x800000FF != data[i]:
                    break
                node = _followers(node, unit)
                if unit & 0x100:
                    length, place = i + 1 - at, self._units[node] & 0x7FFFFFFF
        except IndexError:
            raise self._damaged("one that leaves the array") from None
        return length, self._replacement(place) if length else b""

    def _replacement(self, place: int) -> bytes:
        end = self._texts.find(b"\0", place, place + MAX_REPLACEMENT)
        if end < 0:
            raise self._damaged(f"a text without an end at {place}")
        return self._texts[place:end]

    def _damaged(self, found: str) -> ModelError:
        return ModelError(
            f"{self._source}: key tokenizer.ggml.precompiled_charsmap: expected rules as "
            f"SentencePiece compiles them, found {found}; download the model again"
        )


def _followers(node: int, unit: int) -> int:
    return node ^ (unit >> 10) << ((unit & 0x200) >> 6)


def _character_length(first: int) -> int:
    """Bytes of a character in UTF-8, by its first one."""
    return 1 if first < 0x80 else 2 if first < 0xE0 else 3 if first < 0xF0 else 4
