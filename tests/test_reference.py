"""The reference's ops against formulas written out plainly, in float64."""

from __future__ import annotations

from math import erf, exp, log, pi, tanh

import numpy as np
import pytest
from reference_runs import Files, floats, leaf, one, rng, run

from gguf_run.graph import (
    F16,
    GLU_OPS,
    I32,
    OPS,
    Q8_1,
    UNARY_OPS,
    GluParams,
    Graph,
    TemperatureParams,
)
from gguf_run.plan import make_plan
from gguf_run.quants import quant_type
from gguf_run.reference import REFERENCE
from gguf_run.reference_backend import ReferenceBackend


def test_every_op_has_a_reference() -> None:
    assert set(REFERENCE) == set(OPS)


def test_rms_norm_divides_by_the_root_mean_square() -> None:
    x = floats(3, 10)
    expected = x / np.sqrt((x.astype("f8") ** 2).mean(-1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(one("rms_norm", x, eps=1e-5), expected, rtol=1e-6)


def test_norm_centres_first() -> None:
    x = floats(3, 10) + 5
    y = x.astype("f8")
    expected = (y - y.mean(-1, keepdims=True)) / np.sqrt(y.var(-1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(one("norm", x, eps=1e-5), expected, rtol=1e-4, atol=1e-6)


def test_soft_max_survives_large_numbers() -> None:
    x = np.array([[1e4, 1e4 - 1, -1e4]], np.float32)
    e = exp(-1)
    np.testing.assert_allclose(one("soft_max", x), [[1 / (1 + e), e / (1 + e), 0]], rtol=1e-6)


ACTIVATIONS = {
    "swiglu": lambda x: x / (1 + exp(-x)),
    "geglu": lambda x: 0.5 * x * (1 + tanh((2 / pi) ** 0.5 * (x + 0.044715 * x**3))),
    "reglu": lambda x: max(x, 0.0),
    "geglu_erf": lambda x: 0.5 * x * (1 + erf(x / 2**0.5)),
    "geglu_quick": lambda x: x / (1 + exp(-1.702 * x)),
}


@pytest.mark.parametrize("op", GLU_OPS)
def test_gated_units_multiply_the_activated_gate(op: str) -> None:
    gate, up = 3 * floats(2, 9), floats(2, 9)
    expected = np.vectorize(ACTIVATIONS[op])(gate.astype("f8")) * up
    np.testing.assert_allclose(one(op, gate, up), expected, rtol=2e-6, atol=1e-7)


def test_gated_units_stay_finite_at_the_ends() -> None:
    gate, up = np.array([[-1e4, 1e4]], np.float32), np.ones((1, 2), np.float32)
    np.testing.assert_array_equal(one("swiglu", gate, up), [[0, 1e4]])


@pytest.mark.parametrize("op", UNARY_OPS)
def test_functions_of_elements(op: str) -> None:
    x = floats(3, 20) * 4
    functions = {
        "silu": lambda v: v / (1 + exp(-v)),
        "gelu": lambda v: 0.5 * v * (1 + tanh((2 / pi) ** 0.5 * (v + 0.044715 * v**3))),
        "relu": lambda v: max(v, 0.0),
        "sqr": lambda v: v * v,
        "sigmoid": lambda v: 1 / (1 + exp(-v)),
        "softplus": lambda v: log(1 + exp(v)),
    }
    expected = np.vectorize(functions[op])(x.astype("f8"))
    g = Graph()
    found = run(g, g.unary(op, leaf(g, "x", x)), {"x": x})
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_the_clamped_gated_unit_limits_gate_and_up() -> None:
    gate, up = floats(4, 6) * 9, floats(4, 6) * 9
    g = Graph()
    built = g.swiglu_oai(leaf(g, "gate", gate), leaf(g, "up", up), GluParams(1.702, 7.0))
    found = run(g, built, {"gate": gate, "up": up})
    limited = np.minimum(gate.astype("f8"), 7)
    expected = limited / (1 + np.exp(-1.702 * limited)) * (1 + np.clip(up.astype("f8"), -7, 7))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_clamp_limits_both_sides() -> None:
    x = floats(3, 9) * 3
    np.testing.assert_array_equal(one("clamp", x, limit=1.5), np.clip(x, -1.5, 1.5))


@pytest.mark.parametrize("n_head", [1, 3])
def test_concat_gives_one_row_to_every_head(n_head: int) -> None:
    a, b = floats(4, 3, 5), floats(4, n_head, 2)
    expected = np.concatenate([a, np.broadcast_to(b, (4, 3, 2))], axis=-1)
    np.testing.assert_array_equal(one("concat", a, b), expected)


def test_scores_grow_with_the_logarithm_of_the_position() -> None:
    x, positions = floats(4, 2, 3), np.array([0, 9, 10, 31], np.int32)
    g = Graph()
    at = g.input("positions", positions.shape, I32)
    out = g.scale_by_position(leaf(g, "x", x), at, TemperatureParams(growth=0.5, length=10))
    factors = 1 + 0.5 * np.log([1, 1, 2, 4])
    found = run(g, out, {"x": x}, positions=positions)
    np.testing.assert_allclose(found, x * factors[:, None, None], rtol=1e-6)


def test_softcap_bends_towards_the_cap() -> None:
    x = np.array([[0.5, 100.0]], np.float32)
    np.testing.assert_allclose(
        one("softcap", x, cap=30.0), [[30 * tanh(0.5 / 30), 30 * tanh(100 / 30)]], rtol=1e-6
    )


def test_argmax_and_top_k_prefer_the_lower_index_among_equals() -> None:
    x = np.array([[1, 5, 5, 0, 5]], np.float32)
    assert one("argmax", x).tolist() == [1]
    assert one("top_k", x, k=4).tolist() == [[1, 2, 4, 0]]


@pytest.mark.parametrize("name", ["F32", "F16", "BF16", "Q4_0", "Q8_0", "Q6_K"])
def test_a_product_is_that_of_the_decoded_weight(name: str) -> None:
    import gguf

    dtype = quant_type(name)
    kind = gguf.GGMLQuantizationType[name]
    w = floats(5, 256)
    if name == "Q6_K":
        stored = rng.integers(0, 256, (5, 210), dtype=np.uint8)
        stored[:, 208:] = np.frombuffer(np.float16(0.01).tobytes(), np.uint8)
    else:
        stored = gguf.quants.quantize(w, kind).view(np.uint8).reshape(5, -1)
    x = floats(3, 256)
    g = Graph()
    out = g.mul_mat(g.weight("w", (5, 256), dtype), leaf(g, "x", x))
    expected = x.astype("f8") @ gguf.quants.dequantize(stored, kind).astype("f8").reshape(5, 256).T
    np.testing.assert_allclose(run(g, out, {"w": stored, "x": x}), expected, rtol=1e-4, atol=1e-4)


def test_a_weight_that_is_not_kept_decoded_gives_the_same_product() -> None:
    w, x = floats(7, 64).astype(np.float16), floats(2, 64)
    results = []
    for budget in (0, 1 << 30):
        g = Graph()
        g.output(g.mul_mat(g.weight("w", w.shape, F16), leaf(g, "x", x)))
        backend = ReferenceBackend(Files(w=w, x=x), budget)  # type: ignore[arg-type]
        results.append(backend.prepare(make_plan(g))({}))
    np.testing.assert_allclose(results[0], results[1], rtol=1e-5)


def test_activations_cast_to_q8_1_are_within_half_a_step() -> None:
    x = floats(2, 64)
    x[0, :32] = 0
    g = Graph()
    eye = np.eye(64, dtype=np.float32)
    out = g.mul_mat(leaf(g, "w", eye), g.cast(leaf(g, "x", x), Q8_1))
    step = np.abs(x.reshape(2, 2, 32)).max(-1) / 127
    error = np.abs(run(g, out, {"w": eye, "x": x}) - x).reshape(2, 2, 32)
    assert (error <= step[..., None] / 2 + 1e-7).all()
