"""Which tokens have a role: begin and end of text, end of generation, fill-in-the-middle.

A file names some by key; the others are known by their text, as in llama.cpp 0c1e57098.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from gguf_run.tokenizer.attributes import SPECIAL, Attr, Attrs
from gguf_run.tokenizer.metadata import Keys


@dataclass(frozen=True, slots=True)
class SpecialIds:
    """Ids of tokens with a role; None where the vocabulary has none.

    Attributes:
        bos, eos: begin and end of a text.
        eot, eom: end of a turn, of a message that waits for a tool.
        unk, sep, pad, mask: unknown word, separator, padding, mask.
        fim_pre, fim_suf, fim_mid, fim_pad, fim_rep, fim_sep: fill-in-the-middle: what is before,
            behind, to be filled; padding, repository name, file separator.
    """

    bos: int | None = None
    eos: int | None = None
    eot: int | None = None
    eom: int | None = None
    unk: int | None = None
    sep: int | None = None
    pad: int | None = None
    mask: int | None = None
    fim_pre: int | None = None
    fim_suf: int | None = None
    fim_mid: int | None = None
    fim_pad: int | None = None
    fim_rep: int | None = None
    fim_sep: int | None = None


# Keys of a role; of several in a file the last counts (the later ones are old spellings).
_KEYS: dict[str, tuple[str, ...]] = {
    "bos": ("bos_token_id",),
    "eos": ("eos_token_id",),
    "eot": ("eot_token_id",),
    "eom": ("eom_token_id",),
    "unk": ("unknown_token_id",),
    "sep": ("seperator_token_id",),
    "pad": ("padding_token_id",),
    "mask": ("mask_token_id",),
    "fim_pre": ("fim_pre_token_id", "prefix_token_id"),
    "fim_suf": ("fim_suf_token_id", "suffix_token_id"),
    "fim_mid": ("fim_mid_token_id", "middle_token_id"),
    "fim_pad": ("fim_pad_token_id",),
    "fim_rep": ("fim_rep_token_id",),
    "fim_sep": ("fim_sep_token_id",),
}

# Texts that give a role to a token where no key does; the first that is in the vocabulary.
_TEXTS: dict[str, tuple[str, ...]] = {
    "eot": (
        "<|eot_id|>",
        "<|im_end|>",
        "<|end|>",
        "<end_of_turn>",
        "<|endoftext|>",
        "<|end_of_text|>",
        "<EOT>",
        "_<EOT>",
        "[EOT]",
        "<\uff5cend▁of▁sentence\uff5c>",
        "<end_of_utterance>",
    ),
    "eom": ("<|eom_id|>",),
    "fim_pre": (
        "<|fim_prefix|>",
        "<fim-prefix>",
        "<fim_prefix>",
        "<\uff5cfim▁begin\uff5c>",
        "<PRE>",
        "▁<PRE>",
        "<|code_prefix|>",
        "<|prefix|>",
    ),
    "fim_suf": (
        "<|fim_suffix|>",
        "<fim-suffix>",
        "<fim_suffix>",
        "<\uff5cfim▁hole\uff5c>",
        "<SUF>",
        "▁<SUF>",
        "<|code_suffix|>",
        "<|suffix|>",
    ),
    "fim_mid": (
        "<|fim_middle|>",
        "<fim-middle>",
        "<fim_middle>",
        "<\uff5cfim▁end\uff5c>",
        "<MID>",
        "▁<MID>",
        "<|code_middle|>",
        "<|middle|>",
    ),
    "fim_pad": ("<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"),
    "fim_rep": ("<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"),
    "fim_sep": ("<|file_sep|>",),
}

_EOG_TEXTS = (
    *("<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|flush|>", "<|calls|>"),
    *("<end_of_turn>", "<|endoftext|>", "</s>", "<|eom_id|>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]"),
    *("<|end_of_text|>", "<end_of_utterance>", "<eos>", "<turn|>", "<|tool_response>"),
    *("<\uff5cend▁of▁sentence\uff5c>", "[e~["),
)
# Parts of OpenAI's harmony format that a reader of the text must see.
_HARMONY_TEXTS = ("<|channel|>", "<|message|>", "<|start|>", "<|constrain|>")


def find_special_ids(
    keys: Keys, token_to_id: Mapping[str, int], attrs: Attrs, defaults: SpecialIds
) -> tuple[SpecialIds, frozenset[int]]:
    """Ids of tokens with a role, and the ids that end a generation.

    Args:
        keys: of the file.
        token_to_id: text -> id of all tokens.
        attrs: of all tokens, shape (n_tokens,). Tokens known by their text are made control
            tokens here, and the few that must be read are made user-defined.
        defaults: ids where the file has no key.

    Raises:
        ModelError: an id is no integer or out of range.
    """
    found: dict[str, int | None] = {}
    for role, names in _KEYS.items():
        token: int | None = getattr(defaults, role)
        for name in names:
            token = keys.token_id(name, len(attrs), token)
        found[role] = token
    for role, texts in _TEXTS.items():
        if found[role] is None:
            token = next((token_to_id[text] for text in texts if text in token_to_id), None)
            if token is not None:
                attrs[token] |= Attr.CONTROL
                found[role] = token
    ids = SpecialIds(**found)
    return ids, _eog_ids(ids, token_to_id, attrs)


def _eog_ids(ids: SpecialIds, token_to_id: Mapping[str, int], attrs: Attrs) -> frozenset[int]:
    by_text = {text: token_to_id[text] for text in _EOG_TEXTS if text in token_to_id}
    for token in by_text.values():
        attrs[token] |= Attr.CONTROL
    for text in _HARMONY_TEXTS:
        if text in token_to_id:
            attrs[token_to_id[text]] = Attr.USER_DEFINED
    by_role = (ids.fim_pad, ids.fim_rep, ids.fim_sep, ids.eos, ids.eot, ids.eom)
    eog = {token for token in by_role if token is not None} | set(by_text.values())

    def ends(*texts: str) -> bool:
        return any(token_to_id.get(text) in eog for text in texts)

    harmony = ends("<|return|>") and ends("<|call|>", "<|calls|>")
    solar = ends("<|flush|>") and ends("<|call|>", "<|calls|>")
    if (harmony or solar) and "<|end|>" in by_text:
        # There it ends a message, not the answer.
        eog.discard(by_text["<|end|>"])
        attrs[by_text["<|end|>"]] = Attr.USER_DEFINED
    if ends("<|tool_response>", "<|plamo:eos|>") and "</s>" in by_text:
        # Gemma 4 has HTML's strike-through as a token.
        eog.discard(by_text["</s>"])
        attrs[by_text["</s>"]] = Attr.NORMAL
    return frozenset(eog)


def mark_stripping(
    token_to_id: Mapping[str, int], attrs: Attrs, *, name: str, pre: str, arch: str
) -> None:
    """Mark the tokens that swallow whitespace beside them, which no key tells: by model family.

    Args:
        token_to_id: text -> id of all tokens.
        attrs: of all tokens, shape (n_tokens,); changed.
        name: `general.name`; `pre`: `tokenizer.ggml.pre`; `arch`: `general.architecture`.
    """
    jina = any(family in pre for family in ("jina-v2-de", "jina-v2-es", "jina-v2-code"))
    if jina or any(family in arch for family in ("nomic-bert-moe", "jina-bert-v3")):
        _mark(token_to_id, attrs, ("<mask>",), Attr.LSTRIP)
    elif any(family in name.lower() for family in ("phi-3", "phi3")):
        attrs[(attrs & SPECIAL) != 0] |= np.uint8(Attr.RSTRIP)
        _mark(token_to_id, attrs, ("</s>",), Attr.RSTRIP)
        for text in ("<unk>", "<s>", "<|endoftext|>"):
            if text in token_to_id:
                attrs[token_to_id[text]] &= ~np.uint8(Attr.RSTRIP)
    elif "modern-bert" in name.lower():
        _mark(token_to_id, attrs, ("[MASK]",), Attr.LSTRIP)


def _mark(token_to_id: Mapping[str, int], attrs: Attrs, texts: Iterable[str], attr: Attr) -> None:
    for text in texts:
        if text in token_to_id:
            attrs[token_to_id[text]] |= attr
