"""Embeddings: what a model makes of a text, as one vector, or one for each token.

Vectors are the states behind the last norm, pooled over a text's tokens and scaled to length 1, as
llama.cpp's `llama-embedding` gives them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from collections.abc import Sequence as List

import numpy as np

from gguf_run.engine import Engine, Floats
from gguf_run.errors import ModelError
from gguf_run.hparams import HParams
from gguf_run.kv_cache import pages_for

POOLINGS = ("none", "mean", "cls", "last")
"""By their number in a file's `<arch>.pooling_type`."""

_RANK = 4


def pooling_of(hp: HParams, given: str | None) -> str:
    """The pooling to use: `given`, else the file's, else the mean.

    Raises `ModelError` where it is none of `POOLINGS`.
    """
    if given is not None:
        if given not in POOLINGS:
            raise ModelError(f"pooling: expected one of {', '.join(POOLINGS)}, found {given!r}")
        return given
    key = "pooling_type"
    number = hp.keys.integer(key, POOLINGS.index("mean"), low=0, high=_RANK)
    if number == _RANK:
        raise ModelError(
            f"{hp.keys.source}: key {hp.arch}.{key}: expected a pooling of embeddings, found "
            f"{_RANK}: the model ranks texts; name one of {', '.join(POOLINGS)} to have the "
            "embeddings it ranks by"
        )
    return POOLINGS[number]


def embed(engine: Engine, texts: List[List[int]], pooling: str, normalize: bool) -> Floats:
    """Embeddings of texts, given as tokens -> float32 (n_texts, n_embd); for the pooling "none"
    (n_tokens, n_embd), the rows of all texts one after another.

    Raises `ModelError` where a text has no tokens, or more than the context.
    """
    for i, text in enumerate(texts):
        _check(engine, i, text)
    engine.make_room()
    rows = [row for batch in _batches(engine, texts) for row in _run(engine, batch, pooling)]
    found = np.concatenate([np.empty((0, engine.source.hp.n_embd), np.float32), *rows])
    return _unit(found) if normalize else found


def _check(engine: Engine, i: int, text: List[int]) -> None:
    if not text:
        raise ModelError(f"texts[{i}]: expected at least one token, found none: the text is empty")
    if len(text) > engine.n_ctx:
        raise ModelError(
            f"texts[{i}] has {len(text)} tokens, and the context is of {engine.n_ctx}; "
            "raise n_ctx (-c) or split the text"
        )


def _batches(engine: Engine, texts: Iterable[List[int]]) -> Iterator[list[list[int]]]:
    """Texts that run side by side: as many as fit a step, the KV cache and the states."""
    batch: list[list[int]] = []
    for text in texts:
        if batch and not _fits(engine, _filled([*batch, list(text)])):
            yield batch
            batch = []
        batch.append(list(text))
    if batch:
        yield batch


def _filled(batch: list[list[int]]) -> list[list[int]]:
    """The batch with more texts behind it, whose rows nobody wants: its numbers of tokens and of
    texts become ones that come again, as each pair of them needs a plan of its own."""
    n_text = 1 << len(batch).bit_length()
    n_more = n_text - len(batch)
    n_tok = sum(map(len, batch)) + n_more
    step = max(16, (1 << n_tok.bit_length()) // 8)
    rest = -n_tok % step
    return [*batch, *([0] for _ in range(n_more - 1)), [0] * (1 + rest)]


def _fits(engine: Engine, batch: List[List[int]]) -> bool:
    n_page = sum(pages_for(len(text)) for text in batch)
    return (
        sum(map(len, batch)) <= engine.n_batch
        and n_page <= engine.pool.n_free
        and (not engine.window_pool.n_page or n_page <= engine.window_pool.n_free)
        and (not engine.states.n_state or len(batch) <= engine.states.n_free)
    )


def _run(engine: Engine, batch: list[list[int]], pooling: str) -> list[Floats]:
    """The rows of each text of a batch."""
    every_row = pooling != "last"
    filled = _filled(batch)
    work = []
    try:
        for text in filled if _fits(engine, filled) else batch:
            work.append((engine.new_sequence(), text))
        if len(work) == 1:
            states = engine.evaluate(*work[0], every_row, hidden=True)
        else:
            states = engine.forward(work, every_row, hidden=True)
    finally:
        for seq, _ in work:
            seq.close()
    ends = np.cumsum([len(text) if every_row else 1 for text in batch])
    return [_pooled(rows, pooling) for rows in np.split(states[: ends[-1]], ends[:-1])]


def _pooled(rows: Floats, pooling: str) -> Floats:
    """States (n_tok, n_embd) of one text -> (1, n_embd), or all of them for "none"."""
    if pooling == "mean":
        mean: Floats = rows.mean(axis=0, dtype=np.float64, keepdims=True).astype(np.float32)
        return mean
    return rows[:1] if pooling == "cls" else rows


def _unit(rows: Floats) -> Floats:
    """Rows of length 1; zeros stay."""
    wide = rows.astype(np.float64)
    lengths = np.sqrt((wide**2).sum(axis=1, keepdims=True))
    lengths[lengths == 0] = 1.0
    unit: Floats = (wide / lengths).astype(np.float32)
    return unit
