"""The tokenizer of a model file, of whichever kind."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import Protocol

from gguf_run.errors import ModelError
from gguf_run.loader import GGUFFile, MetaValue, open_gguf
from gguf_run.tokenizer.bpe import BpeEncoder
from gguf_run.tokenizer.detokenizer import Pieces, StreamingDetokenizer
from gguf_run.tokenizer.partition import Partition
from gguf_run.tokenizer.spm import SpmEncoder
from gguf_run.tokenizer.ugm import UgmEncoder
from gguf_run.tokenizer.vocab import Kind, Vocab, read_vocab
from gguf_run.tokenizer.wpm import WpmEncoder

_SURROGATES = re.compile("[\ud800-\udfff]")


class _Encoder(Protocol):
    def encode(self, text: str, at_start: bool) -> list[int]: ...


class Tokenizer:
    """Text to token ids and back, exactly as llama.cpp does it with the same file.

    Made by `from_gguf` or `from_metadata`; cheap to make, as the tables for encoding are built at
    the first use. Threads may share one.

    Attributes:
        vocab: the vocabulary as the file states it.
        n_vocab: number of tokens; ids are 0 ... n_vocab - 1.
        bos, eos, eot, eom, unk, sep, pad, mask: ids of tokens with a role; None: there is none.
        add_bos, add_eos: what `encode` adds before and behind a text.
        eog_ids: ids that end a generation.
    """

    def __init__(self, vocab: Vocab) -> None:
        self.vocab = vocab
        self.n_vocab = vocab.n_tokens
        self.bos = vocab.special.bos
        self.eos = vocab.special.eos
        self.eot = vocab.special.eot
        self.eom = vocab.special.eom
        self.unk = vocab.special.unk
        self.sep = vocab.special.sep
        self.pad = vocab.special.pad
        self.mask = vocab.special.mask
        self.add_bos = vocab.add_bos
        self.add_eos = vocab.add_eos
        self.eog_ids = vocab.eog_ids
        self._partition = Partition(vocab)
        self._pieces = Pieces(vocab)
        self._encoder = _encoder(vocab)

    @classmethod
    def from_gguf(cls, file: str | os.PathLike[str] | GGUFFile) -> Tokenizer:
        """The tokenizer of a GGUF file, by path or open; a file without tensors will do.

        Raises:
            GGUFError: the file is missing or malformed.
            ModelError: its vocabulary is damaged, or of a kind that is not supported.
        """
        if isinstance(file, GGUFFile):
            return cls.from_metadata(file.metadata, str(file.path))
        with open_gguf(file) as opened:
            return cls.from_metadata(opened.metadata, str(opened.path))

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, MetaValue], source: str) -> Tokenizer:
        """The tokenizer that a file's metadata describe; `source` names the file in errors.

        Raises:
            ModelError: the vocabulary is damaged, or of a kind that is not supported.
        """
        return cls(read_vocab(metadata, source))

    def encode(self, text: str, add_special: bool = True, parse_special: bool = False) -> list[int]:
        """Token ids of a text.

        Args:
            text: lone surrogates count as U+FFFD.
            add_special: add BOS, EOS and the like where the model wants them.
            parse_special: take the texts of control tokens (`<s>`, `<|im_start|>`) for these tokens
                and not for plain text. User-defined tokens are always taken so.

        Raises:
            ModelError: the file has no vocabulary, or not the special token that it asks for.
        """
        if self._encoder is None:
            raise ModelError(
                f"{self.vocab.source}: the file has no vocabulary (key tokenizer.ggml.model: "
                "'none'); give token ids instead of text"
            )
        ids = self._before() if add_special else []
        at_start = True
        for fragment in self._partition.split(_SURROGATES.sub("\ufffd", text), parse_special):
            if isinstance(fragment, str):
                ids += self._encoder.encode(fragment, at_start)
                at_start = False
            else:
                ids.append(fragment)
                at_start = True
        return ids + self._behind() if add_special else ids

    def decode(self, ids: Iterable[int], special: bool = False) -> str:
        """The text of token ids.

        Args:
            ids: each in 0 ... n_vocab - 1.
            special: write control and unknown tokens too, which have no text otherwise.

        Returns:
            The text; bytes that are no UTF-8 become U+FFFD. The space that an SPM or WPM model
            sets before a text is left out.

        Raises:
            ValueError: an id is outside the vocabulary.
        """
        streamer = self.streamer(special)
        return "".join(map(streamer.push, ids)) + streamer.flush()

    def streamer(self, special: bool = False, continuation: bool = False) -> StreamingDetokenizer:
        """A detokenizer for ids that come one by one.

        Args:
            special: as in `decode`.
            continuation: the text goes on from another (a prompt), so a space that comes first is
                kept. Without it the pieces join to `decode(ids, special)`.
        """
        strip = self.vocab.add_space_prefix or self.vocab.kind is Kind.WPM
        return StreamingDetokenizer(
            lambda token: self.token_bytes(token, special), strip and not continuation
        )

    def token_bytes(self, token: int, special: bool = True) -> bytes:
        """The bytes that a token adds to a text; not always UTF-8.

        Args:
            token: in 0 ... n_vocab - 1.
            special: whether control and unknown tokens have text.

        Raises:
            ValueError: the id is outside the vocabulary.
        """
        self._check(token)
        return self._pieces.of(token, special)

    def piece(self, token: int) -> str:
        """The text of a token as the vocabulary spells it (`▁the`, `Ġthe`).

        Raises:
            ValueError: the id is outside the vocabulary.
        """
        self._check(token)
        return self.vocab.tokens[token]

    def is_eog(self, token: int) -> bool:
        """Whether the token ends a generation."""
        return token in self.eog_ids

    def _check(self, token: int) -> None:
        if not 0 <= token < self.n_vocab:
            raise ValueError(
                f"token id {token} is outside the vocabulary: expected 0 ... {self.n_vocab - 1}"
            )

    def _before(self) -> list[int]:
        if not (self.add_bos or self.vocab.kind is Kind.WPM):
            return []
        return [self._required(self.bos, "bos_token_id")]

    def _behind(self) -> list[int]:
        if self.vocab.kind is Kind.WPM:
            return [self._required(self.sep, "seperator_token_id")]
        return [self._required(self.eos, "eos_token_id")] if self.add_eos else []

    def _required(self, token: int | None, key: str) -> int:
        if token is None:
            raise ModelError(
                f"{self.vocab.source}: key tokenizer.ggml.{key}: expected the token that this "
                "model's texts begin or end with, found no such key; encode with add_special=False"
            )
        return token


def _encoder(vocab: Vocab) -> _Encoder | None:
    if vocab.pre is not None:
        return BpeEncoder(vocab, vocab.pre)
    if vocab.kind is Kind.SPM:
        return SpmEncoder(vocab)
    if vocab.kind is Kind.UGM:
        return UgmEncoder(vocab)
    return WpmEncoder(vocab) if vocab.kind is Kind.WPM else None
