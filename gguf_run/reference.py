"""Ops in NumPy: the executable specification that other backends are tested against.

A function gets the op's `Tensor`, its sources as arrays and the array to write; what an op means is
said at its constructor in `graph.py`. Matrices come as `HostWeight`, caches as arrays of their
stored type (block types as bytes). Arithmetic is float32; the angles of RoPE are float64. Here are
products and what works on whole rows; a `reference_<family>.py` has the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from gguf_run.graph import (
    F16,
    F16_PAIR,
    F16_SCALED,
    F16_TILES,
    F32,
    I32,
    Q16_1,
    NormParams,
    Tensor,
    TopKParams,
)
from gguf_run.host_weight import HostWeight
from gguf_run.quants import QuantType
from gguf_run.tiles import from_tiles, to_tiles

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


def decoded(stored: Array, dtype: QuantType) -> Floats:
    """Cached rows as float32."""
    if stored.dtype == np.uint8:
        return dtype.decode(np.ascontiguousarray(stored))
    return stored.astype(np.float32, copy=False)


# Products


@op
def cast(t: Tensor, out: Array, x: Floats) -> None:
    if t.dtype in (F16_SCALED, F16_PAIR, F16_TILES):
        # frexp gives the exponent above the largest number's.
        scale = np.ldexp(np.float32(1), np.frexp(np.abs(x).max(axis=-1))[1] - 15)
        scaled = x / scale[..., None]
        rows = [scaled.astype(np.float16)]
        if t.dtype is F16_PAIR:
            rows.append((scaled - rows[0]).astype(np.float16))
        elif t.dtype is F16_TILES:
            rows = [to_tiles(rows[0].reshape(-1, x.shape[-1]))]
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
    forms = {form.row_bytes(n_in): form for form in (F16_SCALED, F16_PAIR)}
    if n_in % F16_TILES.block_size == 0:
        forms[F16_TILES.row_bytes(n_in)] = F16_TILES
    form = forms.get(x.shape[-1])
    if form is not None:
        n_term = 2 if form is F16_PAIR else 1
        n_row = n_term * x.size // x.shape[-1]
        flat, split = x.reshape(-1), 2 * n_row * n_in
        scale = flat[split : split + 4 * n_row].view(np.float32).reshape(-1, 1)
        numbers = flat[:split].view(np.float16)
        h = from_tiles(numbers, n_in) if form is F16_TILES else numbers.reshape(-1, n_in)
        result: Floats = (h * scale).reshape(n_term, *x.shape[:-1], n_in).sum(axis=0)
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


def sigmoid_of(x: Floats) -> Floats:
    """1 / (1 + exp(-x))."""
    # exp(-|x|) can't overflow; both branches keep their full precision.
    small = np.exp(-np.abs(x))
    result: Floats = np.where(x >= 0, np.float32(1), small) / (1 + small)
    return result


def softplus_of(x: Floats) -> Floats:
    """log(1 + exp(x))."""
    return np.logaddexp(x, np.float32(0))


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
