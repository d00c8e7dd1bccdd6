"""The reference's ops of recurrent layers; see `reference.py`."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gguf_run.graph import DeltaParams, Tensor
from gguf_run.reference import Array, Floats, op, softplus_of


def _sequences(seq_ids: Array, states: Floats, state_in: Array) -> Iterator[tuple[Array, Floats]]:
    """Of each sequence of the batch: its tokens' rows, and its state to begin with, as a copy."""
    for seq, row in enumerate(state_in):
        state = np.zeros_like(states[0]) if row < 0 else states[row].copy()
        yield np.flatnonzero(seq_ids == seq), state


@op
def ssm_conv(
    t: Tensor, out: Floats, x: Floats, w: Floats, states: Floats, seq_ids: Array, state_in: Array
) -> None:
    n_ch, n_tap = w.shape
    y, tails = out[: x.size].reshape(x.shape), out[x.size :].reshape(len(state_in), -1)
    for seq, (rows, state) in enumerate(_sequences(seq_ids, states, state_in)):
        history = np.concatenate([state.reshape(n_tap - 1, n_ch), x[rows]])
        if len(rows):
            windows = np.lib.stride_tricks.sliding_window_view(history, n_tap, axis=0)
            y[rows] = np.einsum("tci,ci->tc", windows, w)
        tails[seq] = history[len(rows) :].reshape(-1)


@op
def ssm_scan(
    t: Tensor,
    out: Floats,
    x: Floats,
    dt: Floats,
    a: Floats,
    d: Floats,
    b: Floats,
    c: Floats,
    states: Floats,
    seq_ids: Array,
    state_in: Array,
) -> None:
    _, n_head, head_dim = x.shape
    y, ends = out[: x.size].reshape(x.shape), out[x.size :].reshape(len(state_in), -1)
    b, c = (np.repeat(v, n_head // v.shape[1], axis=1) for v in (b, c))
    step = softplus_of(dt)
    for seq, (rows, state) in enumerate(_sequences(seq_ids, states, state_in)):
        s = state.reshape(n_head, head_dim, b.shape[2])
        for row in rows:
            s *= np.exp(step[row][:, None] * a)[:, None]
            s += (step[row][:, None] * x[row])[:, :, None] * b[row][:, None]
            y[row] = np.einsum("hps,hs->hp", s, c[row]) + d[:, None] * x[row]
        ends[seq] = s.reshape(-1)


@op
def gated_delta_net(
    t: Tensor,
    out: Floats,
    q: Floats,
    k: Floats,
    v: Floats,
    decay: Floats,
    beta: Floats,
    states: Floats,
    seq_ids: Array,
    state_in: Array,
) -> None:
    assert isinstance(t.params, DeltaParams)
    n_head_k, n_head_v = k.shape[1], v.shape[1]
    heads = np.arange(n_head_v)
    source = heads % n_head_k if t.params.in_turn else heads // (n_head_v // n_head_k)
    q, k = q[:, source], k[:, source]
    o, ends = out[: v.size].reshape(v.shape), out[v.size :].reshape(len(state_in), -1)
    for seq, (rows, state) in enumerate(_sequences(seq_ids, states, state_in)):
        s = state.reshape(n_head_v, v.shape[2], k.shape[2])
        for row in rows:
            s *= np.exp(decay[row]).reshape(n_head_v, 1, -1)
            error = v[row] - np.einsum("hvk,hk->hv", s, k[row])
            s += (beta[row][:, None] * error)[:, :, None] * k[row][:, None]
            o[row] = np.einsum("hvk,hk->hv", s, q[row])
        ends[seq] = s.reshape(-1)


@op
def set_states(t: Tensor, out: Floats, cache: Floats, rows: Floats, state_out: Array) -> None:
    out[state_out] = rows
