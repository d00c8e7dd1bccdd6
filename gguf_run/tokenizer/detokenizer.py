"""Ids to text: the bytes of each token, and a decoder that never cuts a character."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable

from gguf_run.tokenizer.attributes import HIDDEN, SPECIAL, Attr
from gguf_run.tokenizer.spm import SPACE
from gguf_run.tokenizer.vocab import Vocab

_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")


def _byte_alphabet() -> dict[int, int]:
    """Code point -> byte of GPT-2's alphabet: printable bytes are themselves, others follow 256."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    return {byte: byte for byte in printable} | {256 + i: byte for i, byte in enumerate(others)}


_ALPHABET = _byte_alphabet()


class Pieces:
    """The bytes that each token stands for, made as needed."""

    def __init__(self, vocab: Vocab) -> None:
        self._vocab = vocab
        self._bytes: dict[int, bytes] = {}
        plain = vocab.pre is None or vocab.pre.raw
        self._spell: Callable[[str], bytes] = _spaced if plain else _from_alphabet

    def of(self, token: int, special: bool) -> bytes:
        """The bytes of a token; of control and unknown tokens none unless `special`."""
        if not special and self._vocab.attrs[token] & HIDDEN:
            return b""
        piece = self._bytes.get(token)
        if piece is None:
            piece = self._bytes[token] = self._make(token)
        return piece

    def _make(self, token: int) -> bytes:
        text, attr = self._vocab.tokens[token], int(self._vocab.attrs[token])
        if attr & SPECIAL:
            return text.encode("utf-8", "surrogateescape")
        if attr & Attr.NORMAL:
            return self._spell(text)
        byte = _BYTE_TOKEN.fullmatch(text) if attr & Attr.BYTE else None
        return bytes.fromhex(byte[1]) if byte else b""


def _spaced(text: str) -> bytes:
    return text.replace(SPACE, " ").encode("utf-8", "surrogateescape")


def _from_alphabet(text: str) -> bytes:
    """The bytes that a text in GPT-2's alphabet spells; a character outside it is itself."""
    out = bytearray()
    for char in text:
        byte = _ALPHABET.get(ord(char))
        if byte is None:
            out += char.encode("utf-8", "surrogateescape")
        else:
            out.append(byte)
    return bytes(out)


class StreamingDetokenizer:
    """Turns ids into text as they come; the pieces join to what `Tokenizer.decode` makes of all.

    A piece never ends inside a character: bytes that may still become one are held back until the
    next `push` or `flush`. Bytes that can't become one come out as U+FFFD.
    """

    def __init__(self, piece: Callable[[int], bytes], strip_space: bool) -> None:
        """Args: piece: the bytes of an id; strip_space: a space before all text is left out."""
        self._piece = piece
        self._strip_space = strip_space
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token: int) -> str:
        """The text that is complete now that `token` has come; often one token's, at times "".

        Raises:
            ValueError: the id is outside the vocabulary.
        """
        piece = self._piece(token)
        if self._strip_space and piece:
            self._strip_space = False
            piece = piece.removeprefix(b" ")
        return self._decoder.decode(piece)

    def flush(self) -> str:
        """The rest: U+FFFD for a character that has begun and will not end, else ""."""
        return self._decoder.decode(b"", final=True)
