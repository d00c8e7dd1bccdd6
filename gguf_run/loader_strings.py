"""Many strings of a GGUF header at once: vocabularies are most of what a header holds."""

from __future__ import annotations

import numpy as np

WINDOW_BYTES = 1 << 20
_HEAD_BYTES = 8


def leading_strings(data: bytes, n: int) -> tuple[list[str], int]:
    """Strings at the start of `data`, each a u64 count of bytes and UTF-8, and the bytes they take.

    At most `n`: as many as follow each other whole, are shorter than 64 KiB and have no NUL in
    them. Such a count ends in six NULs, and there are no others between two counts, so all of them
    are found in one pass. Bytes that are not UTF-8 become surrogates.
    """
    heads, counts = _heads(np.frombuffer(data, np.uint8))
    ends = heads + _HEAD_BYTES + counts
    follows = np.concatenate(([0], ends[:-1])) == heads
    whole = follows & (ends <= len(data))
    found = min(n, len(heads) if whole.all() else int(whole.argmin()))
    if not found:
        return [], 0
    # One NUL in place of each count parts the strings; then all are decoded in one go.
    n_bytes = int(ends[found - 1])
    raw = np.frombuffer(data, np.uint8, n_bytes).copy()
    keep = np.ones(n_bytes, np.bool_)
    for i in range(1, _HEAD_BYTES):
        keep[heads[:found] + i] = False
    raw[heads[:found]] = 0
    texts = raw[keep].tobytes().decode("utf-8", "surrogateescape").split("\0")[1:]
    return (texts, n_bytes) if len(texts) == found else ([], 0)


def _heads(
    data: np.ndarray[tuple[int], np.dtype[np.uint8]],
) -> tuple[np.ndarray[tuple[int], np.dtype[np.int64]], np.ndarray[tuple[int], np.dtype[np.int64]]]:
    """Where counts below 64 KiB may start, and what they say."""
    zero = data == 0
    size = max(0, len(data) - _HEAD_BYTES + 1)
    # Byte i may be a count's first if its bytes 2 to 7 are 0, and those of byte i + 1 are not.
    high = np.ones(size + 1, np.bool_)
    high[size] = False
    for i in range(2, _HEAD_BYTES):
        high[:size] &= zero[i : i + size]
    heads = np.flatnonzero(high[:-1] & ~high[1:])
    return heads, data[heads].astype(np.int64) + (data[heads + 1].astype(np.int64) << 8)
