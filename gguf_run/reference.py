"""Every op in NumPy: the executable specification that other backends are tested against.

A function gets the op's `Tensor`, its sources as arrays and the array to write; what an op means is
said at its constructor in `graph.py`. Matrices come as `HostWeight`, caches as arrays of their
stored type (block types as bytes). Arithmetic is float32; the angles of RoPE are float64.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import erf, floor, log, pi
from typing import Any

import numpy as np
import numpy.typing as npt

from gguf_run.graph import (
    F16,
    F16_PAIR,
    F16_SCALED,
    F32,
    I32,
    Q16_1,
    AttentionParams,
    GluParams,
    NormParams,
    RopeMode,
    RopeParams,
    ScaleParams,
    TemperatureParams,
    Tensor,
    TopKParams,
    XieluParams,
)
from gguf_run.host_weight import HostWeight
from gguf_run.quants import QuantType

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]
OpFunction = Callable[..., None]

REFERENCE: dict[str, OpFunction] = {}


def op(function: OpFunction) -> OpFunction:
    """Register the function of the op that bears its name."""
    REFERENCE[function.__name__] = function
    return function


NUMPY_DTYPES: dict[QuantType, type[np.generic]] = {
    F32: np.float32,
    F16: np.float16,
    I32: np.int32,
}
"""Types that NumPy computes with; arrays of all others hold bytes."""

TAKES_STORED_WEIGHT = ("mul_mat", "mul_mat_id", "mul_mat_batched", "get_rows")
"""Ops whose first source may be a `HostWeight`; all others get their weights as float32 arrays."""

# Rows


@op
def get_rows(t: Tensor, out: Floats, table: HostWeight | Floats, ids: Array) -> None:
    out[...] = table.rows(ids) if isinstance(table, HostWeight) else table[ids]


@op
def set_rows(t: Tensor, out: Array, cache: Array, rows: Floats, slots: Array) -> None:
    page_size = cache.shape[2]
    encoded = _encode(rows, t.dtype)
    out[slots // page_size, :, slots % page_size] = encoded


def _encode(rows: Floats, dtype: QuantType) -> Array:
    """Rows as the cache stores them."""
    if dtype in NUMPY_DTYPES:
        return rows.astype(NUMPY_DTYPES[dtype])
    import gguf

    stored: Array = gguf.quants.quantize(rows, gguf.GGMLQuantizationType(dtype.id))
    return stored


def _decode(stored: Array, dtype: QuantType) -> Floats:
    """Cached rows as float32."""
    if stored.dtype == np.uint8:
        return dtype.decode(np.ascontiguousarray(stored))
    return stored.astype(np.float32, copy=False)


# Products


@op
def cast(t: Tensor, out: Array, x: Floats) -> None:
    if t.dtype in (F16_SCALED, F16_PAIR):
        # frexp gives the exponent above the largest number's.
        scale = np.ldexp(np.float32(1), np.frexp(np.abs(x).max(axis=-1))[1] - 15)
        scaled = x / scale[..., None]
        rows = [scaled.astype(np.float16)]
        if t.dtype is F16_PAIR:
            rows.append((scaled - rows[0]).astype(np.float16))
        parts = [*rows, *(scale for _ in rows)]
        stored = np.concatenate([part.reshape(-1).view(np.uint8) for part in parts])
        out.reshape(-1)[: stored.size] = stored
        return
    blocks = x.reshape(*x.shape[:-1], -1, 32)
    d = np.abs(blocks).max(axis=-1) / np.float32(32512 if t.dtype is Q16_1 else 127)
    q = np.rint(blocks / np.where(d > 0, d, 1)[..., None]).astype(np.int32)
    scales = np.stack([d, d * q.sum(axis=-1)], axis=-1).astype(np.float32)
    # The low term is the nearest to zero, -128 ... 127.
    terms = ((q + 128) >> 8, (q + 128) % 256 - 128) if t.dtype is Q16_1 else (q,)
    parts = [part.astype(np.int8).view(np.uint8) for part in terms] + [scales.view(np.uint8)]
    np.concatenate([part.reshape(*x.shape[:-1], -1) for part in parts], axis=-1, out=out)


def activations(x: Array, n_in: int) -> Floats:
    """What `cast` made, as float32 (..., n_in)."""
    if x.dtype != np.uint8:
        return x.astype(np.float32, copy=False)
    n_term = {F16_SCALED.row_bytes(n_in): 1, F16_PAIR.row_bytes(n_in): 2}.get(x.shape[-1])
    if n_term is not None:
        n_row = n_term * x.size // x.shape[-1]
        flat, split = x.reshape(-1), 2 * n_row * n_in
        scale = flat[split : split + 4 * n_row].view(np.float32).reshape(-1, 1)
        h = flat[:split].view(np.float16).reshape(-1, n_in) * scale
        result: Floats = h.reshape(n_term, *x.shape[:-1], n_in).sum(axis=0)
        return result
    q, scales = x[..., :n_in].view(np.int8).astype(np.int32), x[..., n_in:]
    if x.shape[-1] == Q16_1.row_bytes(n_in):
        q, scales = 256 * q + scales[..., :n_in].view(np.int8), scales[..., n_in:]
    d = np.ascontiguousarray(scales).view(np.float32)[..., ::2, None]
    blocks = q.reshape(*x.shape[:-1], -1, 32).astype(np.float32)
    return (blocks * d).reshape(*x.shape[:-1], n_in)


@op
def mul_mat(t: Tensor, out: Floats, w: HostWeight, x: Floats) -> None:
    w.multiply(activations(x, w.shape[-1]), out)


@op
def mul_mat_batched(t: Tensor, out: Floats, w: HostWeight, x: Array) -> None:
    rows = activations(x, w.shape[-1])
    for head in range(w.shape[0]):
        out[:, head] = rows[:, head] @ w.matrix(head).T


# Rows to rows


@op
def rms_norm(t: Tensor, out: Floats, x: Floats) -> None:
    assert isinstance(t.params, NormParams)
    mean_square = np.mean(np.square(x), axis=-1, keepdims=True)
    np.multiply(x, 1.0 / np.sqrt(mean_square + np.float32(t.params.eps)), out=out)


@op
def norm(t: Tensor, out: Floats, x: Floats) -> None:
    assert isinstance(t.params, NormParams)
    centred = x - np.mean(x, axis=-1, keepdims=True)
    variance = np.mean(np.square(centred), axis=-1, keepdims=True)
    np.multiply(centred, 1.0 / np.sqrt(variance + np.float32(t.params.eps)), out=out)


def soft_max_of(x: Floats) -> Floats:
    """exp(x) / sum(exp(x)) over the last dimension."""
    weights = np.exp(x - np.max(x, axis=-1, keepdims=True))
    result: Floats = weights / np.sum(weights, axis=-1, keepdims=True)
    return result


@op
def soft_max(t: Tensor, out: Floats, x: Floats) -> None:
    out[...] = soft_max_of(x)


@op
def sum_rows(t: Tensor, out: Floats, x: Floats) -> None:
    np.sum(x, axis=-1, keepdims=True, out=out)


@op
def argmax(t: Tensor, out: Array, x: Floats) -> None:
    out[...] = np.argmax(x, axis=-1)


@op
def log_prob(t: Tensor, out: Floats, x: Floats, ids: Array) -> None:
    top = np.max(x, axis=-1)
    total = np.sum(np.exp(x - top[:, None]), axis=-1)
    values = x[np.arange(len(ids)), ids] - top - np.log(total)
    out[...] = np.where(ids < 0, np.float32(np.nan), values)


@op
def top_k(t: Tensor, out: Array, x: Floats) -> None:
    assert isinstance(t.params, TopKParams)
    out[...] = np.argsort(-x, axis=-1, kind="stable")[..., : t.params.k]


# Element by element


@op
def add(t: Tensor, out: Floats, a: Floats, b: Floats) -> None:
    np.add(a, b, out=out)


@op
def mul(t: Tensor, out: Floats, a: Floats, b: Floats) -> None:
    np.multiply(a, b, out=out)


@op
def scale(t: Tensor, out: Floats, x: Floats) -> None:
    assert isinstance(t.params, ScaleParams)
    np.multiply(x, np.float32(t.params.value), out=out)
    out += np.float32(t.params.bias)


@op
def softcap(t: Tensor, out: Floats, x: Floats) -> None:
    assert isinstance(t.params, ScaleParams)
    cap = np.float32(t.params.value)
    np.multiply(np.tanh(x / cap), cap, out=out)


@op
def scale_by_position(t: Tensor, out: Floats, x: Floats, positions: Array) -> None:
    p = t.params
    assert isinstance(p, TemperatureParams)
    n_length = np.floor((positions + p.offset) / p.length)
    factor = 1 + p.growth * np.log1p(n_length)
    np.multiply(x, factor.astype(np.float32)[:, None, None], out=out)


@op
def clamp(t: Tensor, out: Floats, x: Floats) -> None:
    assert isinstance(t.params, ScaleParams)
    np.clip(x, np.float32(-t.params.value), np.float32(t.params.value), out=out)


@op
def concat(t: Tensor, out: Floats, a: Floats, b: Floats) -> None:
    out[..., : a.shape[-1]] = a
    out[..., a.shape[-1] :] = b


def sigmoid_of(x: Floats) -> Floats:
    """1 / (1 + exp(-x))."""
    # exp(-|x|) can't overflow; both branches keep their full precision.
    small = np.exp(-np.abs(x))
    result: Floats = np.where(x >= 0, np.float32(1), small) / (1 + small)
    return result


def softplus_of(x: Floats) -> Floats:
    """log(1 + exp(x))."""
    return np.logaddexp(x, np.float32(0))


def _silu(x: Floats) -> Floats:
    return x * sigmoid_of(x)


def _gelu(x: Floats) -> Floats:
    # The tanh form of GELU (arXiv:1606.08415); x * sigmoid(2 z) = x * (1 + tanh z) / 2.
    z = np.float32((2 / pi) ** 0.5) * (x + np.float32(0.044715) * x * x * x)
    return x * sigmoid_of(2 * z)


def _gelu_erf(x: Floats) -> Floats:
    erf_of = np.vectorize(erf, otypes=[np.float32])
    result: Floats = x * 0.5 * (1 + erf_of(x / np.float32(2**0.5)))
    return result


def _gelu_quick(x: Floats) -> Floats:
    return x * sigmoid_of(np.float32(1.702) * x)


def _relu(x: Floats) -> Floats:
    return np.maximum(x, 0)


def _register_unary(name: str, function: Callable[[Floats], Floats]) -> None:
    def run(t: Tensor, out: Floats, x: Floats) -> None:
        out[...] = function(x)

    REFERENCE[name] = run


def _register_glu(name: str, function: Callable[[Floats], Floats]) -> None:
    def run(t: Tensor, out: Floats, gate: Floats, up: Floats) -> None:
        np.multiply(function(gate), up, out=out)

    REFERENCE[name] = run


_UNARY: dict[str, Callable[[Floats], Floats]] = {
    "silu": _silu,
    "gelu": _gelu,
    "relu": _relu,
    "sqr": np.square,
    "sigmoid": sigmoid_of,
    "softplus": softplus_of,
}
_GLU: dict[str, Callable[[Floats], Floats]] = {
    "swiglu": _silu,
    "geglu": _gelu,
    "reglu": _relu,
    "geglu_erf": _gelu_erf,
    "geglu_quick": _gelu_quick,
}
for _name, _function in _UNARY.items():
    _register_unary(_name, _function)
for _name, _function in _GLU.items():
    _register_glu(_name, _function)


@op
def swiglu_oai(t: Tensor, out: Floats, gate: Floats, up: Floats) -> None:
    p = t.params
    assert isinstance(p, GluParams)
    g = np.minimum(gate, np.float32(p.limit))
    u = np.clip(up, np.float32(-p.limit), np.float32(p.limit))
    np.multiply(g * sigmoid_of(np.float32(p.alpha) * g), 1 + u, out=out)


@op
def xielu(t: Tensor, out: Floats, x: Floats) -> None:
    p = t.params
    assert isinstance(p, XieluParams)
    above, eps = np.maximum(x, 0), np.float32(p.eps)
    below = np.where(x > 0, np.float32(0), np.expm1(np.minimum(x, eps)) - x)
    out[...] = p.alpha_p * above * above + p.alpha_n * below + p.beta * x


# Attention


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
    return _decode(stored.reshape(cache.shape[1], -1, cache.shape[3]), dtype)


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
