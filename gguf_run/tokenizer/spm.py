"""SPM: SentencePiece's BPE over the file's own vocabulary, as llama.cpp runs it."""

from __future__ import annotations

import struct
from functools import cached_property
from typing import TYPE_CHECKING

from gguf_run.tokenizer.vocab import Vocab

if TYPE_CHECKING:
    from sentencepiece import SentencePieceProcessor

SPACE = "\u2581"
"""Stands for a space in the texts of tokens."""

# Fields of sentencepiece_model.proto, as protobuf tags: (field number << 3) | wire type.
_PIECES, _TRAINER, _NORMALIZER = b"\x0a", b"\x12", b"\x1a"
_TEXT, _SCORE, _TYPE_UNKNOWN = b"\x0a", b"\x15", b"\x18\x02"
_MODEL_TYPE_BPE = b"\x18\x02"
_IDENTITY = b"\x0a\x08identity\x18\x00\x20\x00\x28\x00"
"""NormalizerSpec: name; add_dummy_prefix, remove_extra_whitespaces, escape_whitespaces all off."""

_ESCAPED = ("utf-8", "surrogateescape")


class SpmEncoder:
    """Encodes plain text with an SPM vocabulary; built at the first use.

    llama.cpp merges the texts of all tokens, whatever their kind, so SentencePiece gets them all as
    normal pieces, and one more as the unknown piece that it insists on. Characters that come back
    unknown are spelt in bytes here: SentencePiece would want all 256 byte tokens for that, and
    would not merge them.
    """

    def __init__(self, vocab: Vocab) -> None:
        self._vocab = vocab

    def encode(self, text: str, at_start: bool) -> list[int]:
        """Ids of `text`; `at_start`: nothing, or a special token, is before it."""
        if at_start and self._vocab.add_space_prefix:
            text = " " + text
        text = text.replace(" ", SPACE)
        ids: list[int] = self._processor.encode(text, out_type=int)
        if self._vocab.n_tokens not in ids:
            return ids
        pieces: list[str] = self._processor.encode(text, out_type=str)
        spelt: list[int] = []
        for token, piece in zip(ids, pieces, strict=True):
            if token < self._vocab.n_tokens:
                spelt.append(token)
            else:
                # Neighbours that are unknown come as one piece.
                for char in piece:
                    spelt.extend(self._spell(char))
        return spelt

    def _spell(self, char: str) -> list[int]:
        """One token a byte; the unknown token where the vocabulary lacks one of them."""
        known = self._vocab.token_to_id
        bytes_ = [
            known.get(f"<0x{byte:02X}>", known.get(chr(byte)) if byte < 128 else None)
            for byte in char.encode()
        ]
        ids = [token for token in bytes_ if token is not None]
        if len(ids) == len(bytes_):
            return ids
        return [] if self._vocab.special.unk is None else [self._vocab.special.unk]

    @cached_property
    def _processor(self) -> SentencePieceProcessor:
        # Imported here: opening a model with another tokenizer need not pay for it.
        from sentencepiece import SentencePieceProcessor

        processor = SentencePieceProcessor()
        processor.LoadFromSerializedProto(model_proto(self._vocab))
        return processor


def model_proto(vocab: Vocab) -> bytes:
    """A serialised SentencePiece ModelProto of the vocabulary, and an unknown piece behind it."""
    unknown = "\x01"
    while unknown in vocab.token_to_id:
        unknown += "\x01"
    scores = vocab.scores.astype("<f4").tobytes()
    out = bytearray()
    for i, text in enumerate(vocab.tokens):
        # SentencePiece refuses a NUL; a text that nobody writes stands for such a token.
        encoded = (f"{unknown}{i}{unknown}" if "\0" in text else text).encode(*_ESCAPED)
        out += _field(_PIECES, _field(_TEXT, encoded) + _SCORE + scores[4 * i : 4 * i + 4])
    piece = _field(_TEXT, unknown.encode()) + _SCORE + struct.pack("<f", 0) + _TYPE_UNKNOWN
    out += _field(_PIECES, piece)
    out += _field(_TRAINER, _MODEL_TYPE_BPE)
    out += _field(_NORMALIZER, _IDENTITY)
    return bytes(out)


def _field(tag: bytes, content: bytes) -> bytes:
    """A length-delimited protobuf field."""
    size = len(content)
    length = b""
    while size > 127:
        length += bytes((size & 127 | 128,))
        size >>= 7
    return tag + length + bytes((size,)) + content
