"""Finding special tokens in a text."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from gguf_run.tokenizer.attributes import HIDDEN, SPECIAL, Attr
from gguf_run.tokenizer.vocab import Vocab

Fragment: TypeAlias = "str | int"
"""A piece of plain text, or the id of a special token."""

# What the C locale calls a space.
_SPACES = " \t\n\v\f\r"
_BUCKET_CHARS = 4


@dataclass(frozen=True, slots=True)
class _Special:
    text: str
    id: int
    attr: int


class Partition:
    """Cuts texts into plain text and special tokens.

    Longer tokens are looked for first, in the whole text; what they leave is searched for the next.
    User-defined tokens always count, control and unknown tokens when `parse_special` says so.
    """

    def __init__(self, vocab: Vocab) -> None:
        specials = [
            _Special(vocab.tokens[i], i, int(vocab.attrs[i]))
            for i in (vocab.attrs & SPECIAL).nonzero()[0].tolist()
        ]
        specials.sort(key=lambda s: len(s.text.encode("utf-8", "surrogateescape")), reverse=True)
        self._all = _buckets(specials)
        self._always = _buckets(s for s in specials if not s.attr & HIDDEN)

    def split(self, text: str, parse_special: bool) -> list[Fragment]:
        """The fragments of `text`, in order; plain ones are not empty."""
        fragments: list[Fragment] = [text] if text else []
        for special in _present(self._all if parse_special else self._always, text):
            fragments = [
                part
                for fragment in fragments
                for part in (_cut(fragment, special) if isinstance(fragment, str) else (fragment,))
            ]
        return fragments


_Buckets: TypeAlias = "dict[str, list[tuple[int, _Special]]]"


def _buckets(specials: Iterable[_Special]) -> _Buckets:
    """By first characters, so that a vocabulary's thousands of `<unused..>` cost one search."""
    buckets: _Buckets = {}
    for rank, special in enumerate(specials):
        buckets.setdefault(special.text[:_BUCKET_CHARS], []).append((rank, special))
    return buckets


def _present(buckets: _Buckets, text: str) -> list[_Special]:
    found = [
        ranked
        for start, bucket in buckets.items()
        if start in text
        for ranked in bucket
        if ranked[1].text in text
    ]
    return [special for _, special in sorted(found, key=lambda ranked: ranked[0])]


def _cut(text: str, special: _Special) -> list[Fragment]:
    parts = text.split(special.text)
    fragments: list[Fragment] = []
    for i, part in enumerate(parts):
        if i > 0:
            fragments.append(special.id)
            if special.attr & Attr.RSTRIP:
                part = part.lstrip(_SPACES)
        if special.attr & Attr.LSTRIP and i < len(parts) - 1:
            part = part.rstrip(_SPACES)
        if part:
            fragments.append(part)
    return fragments
