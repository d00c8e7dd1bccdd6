"""The reference's ops of attention: positions and heads; see `reference.py`."""

from __future__ import annotations

from functools import lru_cache
from math import floor, log, pi

import numpy as np

from gguf_run.graph import AttentionParams, RopeMode, RopeParams, Tensor
from gguf_run.quants import QuantType
from gguf_run.reference import Array, Floats, decoded, op


@op
def rope(
    t: Tensor, out: Floats, x: Floats, positions: Array, factors: Floats | None = None
) -> None:
    p = t.params
    assert isinstance(p, RopeParams)
    cos, sin = _rotations(p, positions, factors)
    half = p.n_dims // 2
    if p.mode is RopeMode.NEOX:
        first, second = slice(0, half), slice(half, p.n_dims)
    else:
        first, second = slice(0, p.n_dims, 2), slice(1, p.n_dims, 2)
    a, b = x[..., first], x[..., second]
    rotated = a * cos - b * sin, a * sin + b * cos
    out[..., first], out[..., second] = rotated
    out[..., p.n_dims :] = x[..., p.n_dims :]


@lru_cache(maxsize=64)
def _frequencies(p: RopeParams) -> tuple[Array, Array, float]:
    """Per pair: the angle of position 1, YaRN's share of the unscaled angle; and the magnitude."""
    pairs = np.arange(p.n_dims // 2)
    frequency = p.freq_base ** (-2.0 * pairs / p.n_dims)
    if not p.ext_factor:
        return frequency, np.zeros_like(frequency), p.attn_factor

    def pair_that_turns(times: float) -> float:
        turns = log(p.n_ctx_orig / (times * 2 * pi)) / (2 * log(p.freq_base))
        return p.n_dims * turns

    low = max(0, floor(pair_that_turns(p.beta_fast)))
    high = min(p.n_dims - 1, -floor(-pair_that_turns(p.beta_slow)))
    ramp = np.clip((pairs - low) / max(0.001, high - low), 0, 1)
    magnitude = p.attn_factor * (1 + 0.1 * log(1 / p.freq_scale))
    return frequency, (1 - ramp) * p.ext_factor, magnitude


def _rotations(p: RopeParams, positions: Array, factors: Floats | None) -> tuple[Floats, Floats]:
    """Cosines and sines (n_tok, 1, n_dims / 2)."""
    frequency, unscaled, magnitude = _frequencies(p)
    angle = positions[:, None].astype(np.float64) * frequency
    if factors is not None:
        angle = angle / factors
    angle = angle * (p.freq_scale * (1 - unscaled) + unscaled)
    cos, sin = np.cos(angle) * magnitude, np.sin(angle) * magnitude
    return cos.astype(np.float32)[:, None], sin.astype(np.float32)[:, None]


MOST_SCORES = 1 << 25
"""Scores of attention that are held at a time, lest long contexts take all memory (128 MiB)."""


@op
def flash_attn_ext(
    t: Tensor,
    out: Floats,
    q: Floats,
    k: Array,
    v: Array,
    positions: Array,
    seq_ids: Array,
    block_table: Array,
    sinks: Floats | None = None,
) -> None:
    p = t.params
    assert isinstance(p, AttentionParams)
    page_size = k.shape[2]
    for seq in np.unique(seq_ids):
        rows = np.flatnonzero(seq_ids == seq)
        seen = positions[rows]
        stop = int(seen.max()) + 1
        reach = p.window if p.causal else p.window // 2 + 1
        first_page = max(0, int(seen.min()) - reach + 1) // page_size if p.window else 0
        pages = block_table[seq, first_page : -(-stop // page_size)]
        keys = _gather(k, pages, t.srcs[1].dtype)
        values = _gather(v, pages, t.srcs[2].dtype)
        columns = np.arange(keys.shape[1]) + first_page * page_size
        step = len(rows)
        if p.causal:
            step = max(1, MOST_SCORES // (q.shape[1] * keys.shape[1]))
        for start in range(0, len(rows), step):
            some, places = rows[start : start + step], seen[start : start + step]
            out[some] = _attend(q[some], keys, values, places, columns, p, sinks)


def _gather(cache: Array, pages: Array, dtype: QuantType) -> Floats:
    """The rows of `pages` as float32 (n_head_kv, n_page * page_size, head_dim)."""
    stored = cache[pages].swapaxes(0, 1)
    return decoded(stored.reshape(cache.shape[1], -1, cache.shape[3]), dtype)


def _attend(
    q: Floats,
    keys: Floats,
    values: Floats,
    seen: Array,
    columns: Array,
    p: AttentionParams,
    sink: Floats | None,
) -> Floats:
    """q (n_tok, n_head, d_k) at positions `seen`, keys at `columns` -> (n_tok, n_head, d_v)."""
    n_tok, n_head, _ = q.shape
    n_kv = keys.shape[0]
    grouped = q.swapaxes(0, 1).reshape(n_kv, -1, q.shape[2])
    scores = np.matmul(grouped, keys.swapaxes(1, 2)).reshape(n_head, n_tok, -1)
    scores *= np.float32(p.scale)
    if p.softcap:
        cap = np.float32(p.softcap)
        scores = cap * np.tanh(scores / cap)
    distance = seen[:, None] - columns
    if p.max_bias:
        slopes = np.array(p.slopes(n_head), np.float32)
        scores -= slopes[:, None, None] * np.abs(distance).astype(np.float32)
    if p.causal:
        hidden = (distance < 0) | (distance >= (p.window or np.inf))
        if p.chunk:
            hidden |= columns < (seen - seen % p.chunk)[:, None]
    else:
        half = p.window // 2 if p.window else np.inf
        hidden = (columns > seen.max()) | (np.abs(distance) > half)
    scores[:, hidden] = -np.inf
    top = scores.max(axis=-1, keepdims=True)
    if sink is not None:
        top = np.maximum(top, sink[:, None, None])
    weights = np.exp(scores - top)
    total = weights.sum(axis=-1, keepdims=True)
    if sink is not None:
        total += np.exp(sink[:, None, None] - top)
    weights /= total
    # A page may hold rows that no token has written: zero weight must not meet their NaNs.
    visible = ~hidden.all(axis=0)
    grouped = weights[:, :, visible].reshape(n_kv, -1, int(visible.sum()))
    merged = np.matmul(grouped, values[:, visible])
    heads: Floats = merged.reshape(n_head, n_tok, -1).swapaxes(0, 1)
    return heads
