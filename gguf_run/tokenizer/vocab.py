"""A model's vocabulary as its file states it: texts, kinds, scores and roles of its tokens."""

from __future__ import annotations

import enum
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from gguf_run.errors import ModelError
from gguf_run.loader import MetaValue
from gguf_run.tokenizer.attributes import Attr, Attrs, attributes
from gguf_run.tokenizer.metadata import Keys
from gguf_run.tokenizer.pretokenizers import PreTokenizer, pre_tokenizer
from gguf_run.tokenizer.special import SpecialIds, find_special_ids, mark_stripping

logger = logging.getLogger(__name__)


class Kind(enum.Enum):
    """Kinds of tokenizer, by `tokenizer.ggml.model`."""

    SPM = "llama"
    BPE = "gpt2"
    GEMMA4 = "gemma4"
    WHITESPACE = "whitespace"
    WPM = "bert"
    UGM = "t5"
    NONE = "none"


_UNSUPPORTED = {
    "rwkv": "RWKV's",
    "plamo2": "PLaMo 2's",
    "hybriddna": "BPE with DNA k-mers",
    "test": "of llama.cpp's tests",
}

# Roles where the file has no key, from the first model of each kind.
_DEFAULTS = {
    Kind.SPM: SpecialIds(bos=1, eos=2, unk=0),
    Kind.BPE: SpecialIds(bos=11, eos=11),
    Kind.WHITESPACE: SpecialIds(bos=11, eos=11),
    Kind.GEMMA4: SpecialIds(),
    Kind.WPM: SpecialIds(bos=101, unk=100, sep=102, pad=0, mask=103),
    Kind.UGM: SpecialIds(eos=1, unk=2, pad=0),
}

# A space as the first character belongs to the left token.
_MERGE = re.compile(r".[^ ]* .", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Vocab:
    """A checked vocabulary; the same for all kinds of tokenizer.

    Attributes:
        source: the file's name, for errors.
        kind: of tokenizer.
        tokens: the texts, by id; bytes that are no UTF-8 are surrogate escapes.
        token_to_id: the other way round.
        attrs: an Attr a token, uint8 (n_tokens,).
        scores: float32 (n_tokens,); greater is merged earlier (SPM), or likelier (UGM).
        merges: "left right", earlier is merged earlier (BPE).
        pre: how text is cut before merging (BPE), else None.
        special: ids of tokens with a role.
        eog_ids: ids that end a generation.
        suppressed: ids that must never be sampled.
        add_bos, add_eos: what `add_special` adds.
        add_sep: whether a separator goes between the two texts of a pair.
        add_space_prefix: whether a text starts with a space that is not written (SPM, UGM).
        lowercase, strip_accents: normalisation (WPM).
        merge_spaces, charsmap: normalisation (UGM): whether spaces that follow each other are one,
            and rules in SentencePiece's form.
    """

    source: str
    kind: Kind
    tokens: list[str]
    token_to_id: dict[str, int]
    attrs: Attrs
    scores: npt.NDArray[np.float32]
    merges: list[str]
    pre: PreTokenizer | None
    special: SpecialIds
    eog_ids: frozenset[int]
    suppressed: tuple[int, ...]
    add_bos: bool
    add_eos: bool
    add_sep: bool
    add_space_prefix: bool
    lowercase: bool
    strip_accents: bool
    merge_spaces: bool = False
    charsmap: bytes = b""

    @property
    def n_tokens(self) -> int:
        return len(self.tokens)


def read_vocab(metadata: Mapping[str, MetaValue], source: str) -> Vocab:
    """The vocabulary in a file's metadata; `source` names the file in errors.

    Raises:
        ModelError: a key is missing, of the wrong type, of the wrong length or out of range, or the
            kind of tokenizer is not supported.
    """
    keys = Keys(metadata, source)
    kind = _kind(keys)
    if kind is Kind.NONE:
        return _no_vocab(keys)
    pre_name, pre = _pre(keys, kind)
    tokens, token_to_id = _tokens(keys)
    attrs = attributes(keys.numbers("token_type", "iu", len(tokens)), len(tokens))
    defaults = _DEFAULTS[kind]
    if pre is not None and not pre.default_bos:
        defaults = replace(defaults, bos=None)
    special, eog_ids = find_special_ids(keys, token_to_id, attrs, defaults)
    mark_stripping(
        token_to_id,
        attrs,
        name=_general(metadata, "name"),
        pre=pre_name,
        arch=_general(metadata, "architecture"),
    )
    lowercase = keys.flag("normalizer.lowercase", pre_name != "whitespace")
    spm, wpm, ugm = (kind is one for one in (Kind.SPM, Kind.WPM, Kind.UGM))
    add_bos = keys.flag("add_bos_token", spm or wpm or (pre is not None and pre.add_bos))
    return Vocab(
        source=source,
        kind=kind,
        tokens=tokens,
        token_to_id=token_to_id,
        attrs=attrs,
        scores=_scores(keys, len(tokens)),
        merges=_merges(keys) if pre is not None else [],
        pre=pre,
        special=special,
        eog_ids=eog_ids,
        suppressed=_suppressed(keys, len(tokens)),
        add_bos=add_bos or (pre is not None and pre.force_bos),
        add_eos=keys.flag("add_eos_token", ugm),
        add_sep=keys.flag("add_sep_token", wpm or (pre is not None and pre.add_sep)),
        add_space_prefix=keys.flag("add_space_prefix", spm) if spm or ugm else False,
        lowercase=lowercase,
        strip_accents=keys.flag("normalizer.strip_accents", lowercase),
        merge_spaces=keys.flag("remove_extra_whitespaces", False),
        charsmap=_charsmap(keys),
    )


def _kind(keys: Keys) -> Kind:
    name = keys.text("model")
    if name == "no_vocab":
        return Kind.NONE
    supported = [kind.value for kind in Kind]
    if name not in supported:
        what = f" ({_UNSUPPORTED[name]})" if name in _UNSUPPORTED else ""
        raise ModelError(
            f"{keys.source}: key tokenizer.ggml.model: tokenizer {name!r}{what} is not supported; "
            f"supported are {', '.join(supported)}"
        )
    return Kind(name)


def _pre(keys: Keys, kind: Kind) -> tuple[str, PreTokenizer | None]:
    name = keys.text("pre", "")
    if kind in (Kind.SPM, Kind.WPM, Kind.UGM):
        return name, None
    if kind is Kind.GEMMA4:
        return name, pre_tokenizer("gemma4", keys.source)
    if not name:
        logger.warning(
            "%s: no key tokenizer.ggml.pre, so words are cut by the 'default' rules: expect worse "
            "text, and convert the model again for the right ones",
            keys.source,
        )
    return name, pre_tokenizer(name or "default", keys.source)


def _general(metadata: Mapping[str, MetaValue], key: str) -> str:
    value = metadata.get(f"general.{key}")
    return value if isinstance(value, str) else ""


def _tokens(keys: Keys) -> tuple[list[str], dict[str, int]]:
    tokens = keys.strings("tokens")
    if not tokens:
        keys.fail("tokens", "at least one token", "none")
    token_to_id = dict(zip(tokens, range(len(tokens)), strict=True))
    if "" in token_to_id:
        tokens = [text or f"[EMPTY_{i}]" for i, text in enumerate(tokens)]
        token_to_id = dict(zip(tokens, range(len(tokens)), strict=True))
    if len(token_to_id) != len(tokens):
        i = next(i for i, text in enumerate(tokens) if token_to_id[text] != i)
        keys.fail(
            "tokens", "texts that differ", f"{tokens[i]!r} as {i} and as {token_to_id[tokens[i]]}"
        )
    return tokens, token_to_id


def _scores(keys: Keys, n_tokens: int) -> npt.NDArray[np.float32]:
    values = keys.numbers("scores", "fiu", n_tokens)
    if values is None:
        return np.zeros(n_tokens, np.float32)
    with np.errstate(over="ignore"):  # A float64 beyond float32 is as good as infinite.
        scores = values[:n_tokens].astype(np.float32)
    if np.isnan(scores).any():
        keys.fail("scores", "numbers", f"NaN at index {int(np.isnan(scores).argmax())}")
    return scores


def _merges(keys: Keys) -> list[str]:
    if keys.get("merges") is None and keys.text("pre", "") == "kimi-k2":
        return []
    merges = keys.strings("merges")
    if not all(map(_MERGE.match, merges)):
        odd = next(i for i, merge in enumerate(merges) if not _MERGE.match(merge))
        keys.fail(
            "merges", "two tokens with a space between", f"{merges[odd]!r:.60} at index {odd}"
        )
    return merges


def _charsmap(keys: Keys) -> bytes:
    values = keys.numbers("precompiled_charsmap", "iu", 0)
    return b"" if values is None else values.astype(np.uint8).tobytes()


def _suppressed(keys: Keys, n_tokens: int) -> tuple[int, ...]:
    ids = keys.numbers("suppress_tokens", "iu", 0)
    return () if ids is None else tuple(i for i in map(int, ids) if 0 <= i < n_tokens)


def _no_vocab(keys: Keys) -> Vocab:
    n_tokens = keys.metadata.get(f"{_general(keys.metadata, 'architecture')}.vocab_size", 0)
    if isinstance(n_tokens, bool) or not isinstance(n_tokens, int) or not 0 <= n_tokens < 1 << 24:
        raise ModelError(f"{keys.source}: key vocab_size: expected a count, found {n_tokens!r:.60}")
    return Vocab(
        source=keys.source,
        kind=Kind.NONE,
        tokens=[""] * n_tokens,
        token_to_id={},
        attrs=np.full(n_tokens, Attr.UNDEFINED, np.uint8),
        scores=np.zeros(n_tokens, np.float32),
        merges=[],
        pre=None,
        special=SpecialIds(),
        eog_ids=frozenset(),
        suppressed=(),
        add_bos=False,
        add_eos=False,
        add_sep=False,
        add_space_prefix=False,
        lowercase=False,
        strip_accents=False,
    )
