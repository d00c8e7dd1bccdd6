"""Routers and products with experts against plain loops, in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from reference_runs import Array, floats, leaf, run

from gguf_run.graph import F32, I32, Gating, Graph, RouterParams, Tensor

rng = np.random.default_rng(11)


def score(logits: npt.NDArray[Any], gating: Gating) -> npt.NDArray[Any]:
    """The score of each expert of one token."""
    x = logits.astype(np.float64)
    if gating is Gating.SOFTMAX:
        e = np.exp(x - x.max())
        return e / e.sum()
    if gating is Gating.SIGMOID:
        return 1 / (1 + np.exp(-x))
    return np.sqrt(np.log1p(np.exp(x))) if gating is Gating.SQRT_SOFTPLUS else x


def choice(scores: npt.NDArray[Any], p: RouterParams) -> list[int]:
    """The best experts of the best groups."""
    size = len(scores) // p.n_group
    groups = [range(g * size, (g + 1) * size) for g in range(p.n_group)]
    best = sorted(groups, key=lambda g: -sum(sorted(scores[i] for i in g)[-2:]))
    allowed = [i for group in best[: p.n_group_used] for i in group] if p.n_group > 1 else None
    candidates = sorted(allowed) if allowed is not None else range(len(scores))
    return sorted(candidates, key=lambda i: -scores[i])[: p.n_used]


def weigh(logits: npt.NDArray[Any], ids: list[int], p: RouterParams) -> npt.NDArray[Any]:
    weights = score(logits, p.gating)[ids]
    if p.gating is Gating.SOFTMAX_SELECTED:
        weights = np.exp(weights - weights.max())
        weights /= weights.sum()
    if p.normalise:
        weights = weights / max(weights.sum(), 2.0**-14)
    return weights * p.scale


PARAMS = [
    RouterParams(3),
    RouterParams(1, normalise=False),
    RouterParams(8, Gating.SIGMOID, scale=2.5),
    RouterParams(4, Gating.SOFTMAX_SELECTED, normalise=False),
    RouterParams(2, Gating.SQRT_SOFTPLUS),
    RouterParams(3, Gating.SIGMOID, n_group=4, n_group_used=2),
]


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("p", PARAMS, ids=lambda p: f"{p.gating.name}-{p.n_used}-{p.n_group}")
def test_a_router_chooses_and_weighs(p: RouterParams, biased: bool) -> None:
    logits, bias = floats(7, 16) * 2, floats(16)
    g = Graph()
    extra = leaf(g, "bias", bias) if biased else None
    ids = g.moe_ids(leaf(g, "logits", logits), p, extra)
    weights = g.moe_weights(leaf(g, "logits", logits), g.output(ids), p)
    arrays = {"logits": logits, **({"bias": bias} if biased else {})}
    chosen = run(g, weights, arrays)
    expected = [choice(score(row, p.gating) + (bias if biased else 0), p) for row in logits]
    np.testing.assert_array_equal(chosen, expected)
    h = Graph()
    given = h.input("ids", chosen.shape, I32)
    found = run(h, h.moe_weights(leaf(h, "logits", logits), given, p), arrays, ids=chosen)
    for row, row_ids, row_logits in zip(found, expected, logits, strict=True):
        np.testing.assert_allclose(row, weigh(row_logits, row_ids, p), rtol=1e-5)


def test_weights_that_vanish_are_not_divided_by_nothing() -> None:
    p = RouterParams(2, Gating.SIGMOID)
    g = Graph()
    logits = np.full((1, 4), -200, np.float32)
    out = g.moe_weights(leaf(g, "logits", logits), g.input("ids", (1, 2), I32), p)
    assert run(g, out, {"logits": logits}, ids=np.array([[0, 1]], np.int32)).tolist() == [[0, 0]]


def test_equal_experts_are_chosen_by_number() -> None:
    g = Graph()
    logits = np.zeros((2, 6), np.float32)
    ids = g.moe_ids(leaf(g, "logits", logits), RouterParams(3))
    assert run(g, ids, {"logits": logits}).tolist() == [[0, 1, 2]] * 2


def _with_ids(build: Any, arrays: dict[str, Array], ids: Array) -> Array:
    g = Graph()
    leaves = [g.weight(name, array.shape, F32) for name, array in arrays.items()]
    out: Tensor = build(g, *leaves, g.input("ids", ids.shape, I32))
    return run(g, out, arrays, ids=ids)


@pytest.mark.parametrize("n_row", [1, 3])
def test_a_product_with_experts_takes_each_ones_matrix(n_row: int) -> None:
    w, x = floats(5, 4, 8), floats(6, n_row, 8)
    ids = rng.integers(0, 5, (6, 3)).astype(np.int32)

    def build(g: Graph, w: Tensor, x: Tensor, ids: Tensor) -> Tensor:
        return g.mul_mat_id(w, g.scale(x, 1.0), ids)

    found = _with_ids(build, {"w": w, "x": x}, ids)
    for t, j in np.ndindex(*ids.shape):
        row = x[t, j if n_row == 3 else 0]
        np.testing.assert_allclose(found[t, j], w[ids[t, j]] @ row, rtol=1e-4, atol=1e-5)


def test_biases_of_experts_are_added_by_number() -> None:
    x, rows = floats(4, 2, 3), floats(5, 3)
    ids = rng.integers(0, 5, (4, 2)).astype(np.int32)
    found = _with_ids(Graph.add_id, {"x": x, "rows": rows}, ids)
    np.testing.assert_allclose(found, x + rows[ids], rtol=1e-6)


def test_the_sum_over_experts_is_weighted() -> None:
    x, weights = floats(4, 3, 5), floats(4, 3)
    g = Graph()
    out = g.moe_sum(leaf(g, "x", x), leaf(g, "w", weights))
    found = run(g, out, {"x": x, "w": weights})
    np.testing.assert_allclose(found, (x * weights[..., None]).sum(1), rtol=1e-5, atol=1e-6)


def test_each_head_has_a_matrix_of_its_own() -> None:
    w, x = floats(3, 4, 8), floats(5, 3, 8)
    g = Graph()
    out = g.mul_mat_batched(leaf(g, "w", w), g.scale(leaf(g, "x", x), 1.0))
    found = run(g, out, {"w": w, "x": x})
    np.testing.assert_allclose(found, np.einsum("hoi,thi->tho", w, x), rtol=1e-4, atol=1e-5)
