"""Tiny vocabularies, as the metadata that a loader would give."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from gguf_run.tokenizer import Tokenizer

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
BYTES = {f"<0x{byte:02X}>": BYTE for byte in range(256)}

_PRINTABLE = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
_OTHERS = [byte for byte in range(256) if byte not in _PRINTABLE]
ALPHABET = {byte: chr(byte) for byte in _PRINTABLE} | {
    byte: chr(256 + i) for i, byte in enumerate(_OTHERS)
}
"""Byte -> its character in GPT-2's alphabet."""


def spell(text: str) -> str:
    """A text in GPT-2's alphabet."""
    return "".join(ALPHABET[byte] for byte in text.encode())


def metadata(model: str, tokens: Mapping[str, int], **keys: Any) -> dict[str, Any]:
    """Metadata with `tokens` (text -> type) and further `tokenizer.ggml.*` keys."""
    found = {
        "general.architecture": "llama",
        "tokenizer.ggml.model": model,
        "tokenizer.ggml.tokens": list(tokens),
        "tokenizer.ggml.token_type": np.array(list(tokens.values()), np.int32),
    }
    return found | {f"tokenizer.ggml.{key}": value for key, value in keys.items()}


def spm(
    pieces: Mapping[str, float], special: Mapping[str, int] | None = None, **keys: Any
) -> dict[str, Any]:
    """`<unk> <s> </s>`, more special tokens, 256 bytes, then `pieces` (text -> score)."""
    tokens = {"<unk>": UNKNOWN, "<s>": CONTROL, "</s>": CONTROL} | dict(special or {}) | BYTES
    scores = [0.0] * len(tokens) + list(pieces.values())
    tokens |= dict.fromkeys(pieces, NORMAL)
    return metadata("llama", tokens, **{"scores": np.array(scores, np.float32)} | keys)


def bpe(
    merges: Iterable[str], special: Mapping[str, int] | None = None, **keys: Any
) -> dict[str, Any]:
    """The 256 characters of GPT-2's alphabet, the merged texts, then special tokens."""
    merges = list(merges)
    tokens = dict.fromkeys(ALPHABET.values(), NORMAL)
    tokens |= {merge.replace(" ", ""): NORMAL for merge in merges} | dict(special or {})
    return metadata("gpt2", tokens, **{"pre": "gpt-2", "merges": merges} | keys)


def wpm(words: Iterable[str], **keys: Any) -> dict[str, Any]:
    """`[PAD] [UNK] [CLS] [SEP]`, then `words` (U+2581 marks those that begin a word)."""
    tokens = {"[PAD]": CONTROL, "[UNK]": CONTROL, "[CLS]": CONTROL, "[SEP]": CONTROL}
    ids = {"unknown_token_id": 1, "bos_token_id": 2, "seperator_token_id": 3}
    return metadata("bert", tokens | dict.fromkeys(words, NORMAL), **ids | keys)


def gemma4(pieces: Iterable[str], merges: Iterable[str], **keys: Any) -> dict[str, Any]:
    """`<pad> <eos> <bos>`, 256 bytes, then `pieces`."""
    tokens = {"<pad>": CONTROL, "<eos>": CONTROL, "<bos>": CONTROL} | BYTES
    tokens |= dict.fromkeys(pieces, NORMAL)
    return metadata("gemma4", tokens, **{"merges": list(merges), "bos_token_id": 2} | keys)


def tokenizer(found: Mapping[str, Any]) -> Tokenizer:
    return Tokenizer.from_metadata(found, "tiny.gguf")


def pieces(made: Tokenizer, text: str, **how: bool) -> list[str]:
    """The vocabulary's texts of the tokens of `text`, without what is added around it."""
    return [made.piece(i) for i in made.encode(text, add_special=False, **how)]


def write_gguf(found: Mapping[str, Any], path: Path) -> None:
    """A GGUF file without tensors."""
    writer = gguf.GGUFWriter(path, found["general.architecture"])
    for key, value in found.items():
        if isinstance(value, bool):
            writer.add_bool(key, value)
        elif isinstance(value, int):
            writer.add_uint32(key, value)
        elif isinstance(value, str) and key != "general.architecture":
            writer.add_string(key, value)
        elif isinstance(value, Sequence) and not isinstance(value, str):
            writer.add_array(key, value)
        elif isinstance(value, np.ndarray):
            writer.add_key_value(
                key,
                value.tolist(),
                gguf.GGUFValueType.ARRAY,
                gguf.GGUFValueType.FLOAT32 if value.dtype.kind == "f" else gguf.GGUFValueType.INT32,
            )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
