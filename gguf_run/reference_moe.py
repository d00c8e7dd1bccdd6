"""The reference's ops of mixtures of experts; see `reference.py`."""

from __future__ import annotations

import numpy as np

from gguf_run.graph import Gating, GroupParams, RouterParams, Tensor
from gguf_run.host_weight import HostWeight
from gguf_run.reference import (
    Array,
    Floats,
    activations,
    op,
    sigmoid_of,
    soft_max_of,
    softplus_of,
)

LEAST_SUM = np.float32(2.0**-14)
"""Weights are divided by no smaller sum (the least normal f16)."""


def _scores(logits: Floats, gating: Gating) -> Floats:
    """What experts are chosen by, and weighed by."""
    if gating is Gating.SOFTMAX:
        return soft_max_of(logits)
    if gating is Gating.SIGMOID:
        return sigmoid_of(logits)
    if gating is Gating.SQRT_SOFTPLUS:
        return np.sqrt(softplus_of(logits))
    return logits


def _outside_the_best_groups(scores: Floats, p: RouterParams) -> Array:
    """Which experts can't be chosen: (n_tok, n_expert) bool."""
    grouped = scores.reshape(len(scores), p.n_group, -1)
    best_two = np.sort(grouped, axis=-1)[..., -2:].sum(axis=-1)
    order = np.argsort(-best_two, axis=-1, kind="stable")
    left_out = np.ones((len(scores), p.n_group), bool)
    np.put_along_axis(left_out, order[:, : p.n_group_used], False, axis=-1)
    result: Array = np.repeat(left_out, grouped.shape[-1], axis=-1)
    return result


@op
def moe_ids(t: Tensor, out: Array, logits: Floats, bias: Floats | None = None) -> None:
    p = t.params
    assert isinstance(p, RouterParams)
    scores = _scores(logits, p.gating)
    if bias is not None:
        scores = scores + bias
    if p.n_group > 1:
        scores = np.where(_outside_the_best_groups(scores, p), -np.inf, scores)
    out[...] = np.argsort(-scores, axis=-1, kind="stable")[:, : p.n_used]


@op
def moe_weights(t: Tensor, out: Floats, logits: Floats, ids: Array) -> None:
    p = t.params
    assert isinstance(p, RouterParams)
    weights = np.take_along_axis(_scores(logits, p.gating), ids, axis=-1)
    if p.gating is Gating.SOFTMAX_SELECTED:
        weights = soft_max_of(weights)
    if p.normalise:
        weights = weights / np.maximum(weights.sum(axis=-1, keepdims=True), LEAST_SUM)
    np.multiply(weights, np.float32(p.scale), out=out)


@op
def moe_group(t: Tensor, out: Array, ids: Array) -> None:
    p = t.params
    assert isinstance(p, GroupParams)
    out[...] = -1
    tile = 0
    for expert in range(p.n_expert):
        pairs = np.flatnonzero(ids == expert)
        for start in range(0, len(pairs), p.size):
            part = pairs[start : start + p.size]
            out[tile, 0], out[tile, 1 : 1 + len(part)] = expert, part
            tile += 1


@op
def mul_mat_id(
    t: Tensor, out: Floats, w: HostWeight, x: Array, ids: Array, groups: Array | None = None
) -> None:
    rows = activations(x, w.shape[-1])
    spread = np.broadcast_to(rows, (*ids.shape, rows.shape[-1]))
    for expert in np.unique(ids):
        chosen = ids == expert
        out[chosen] = spread[chosen] @ w.matrix(int(expert)).T


@op
def add_id(t: Tensor, out: Floats, x: Floats, rows: Floats, ids: Array) -> None:
    np.add(x, rows[ids], out=out)


@op
def moe_sum(t: Tensor, out: Floats, x: Floats, weights: Floats) -> None:
    np.einsum("tjn,tj->tn", x, weights, out=out)
