"""The reference's ops against formulas written out plainly, in float64."""

from __future__ import annotations

from math import erf, exp, log, pi, tanh
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from gguf_run.graph import (
    F16,
    F32,
    GLU_OPS,
    I32,
    OPS,
    Q8_1,
    UNARY_OPS,
    AttentionParams,
    GluParams,
    Graph,
    RopeMode,
    RopeParams,
    TemperatureParams,
    Tensor,
)
from gguf_run.kv_cache import PAGE_SIZE
from gguf_run.plan import make_plan
from gguf_run.quants import quant_type
from gguf_run.reference import REFERENCE
from gguf_run.reference_backend import ReferenceBackend

Array = npt.NDArray[Any]
rng = np.random.default_rng(7)


class Files:
    """Weights from memory, where a backend expects an open file."""

    def __init__(self, **arrays: Array) -> None:
        self._arrays = arrays

    def data(self, name: str) -> Array:
        return np.ascontiguousarray(self._arrays[name]).reshape(-1).view(np.uint8)


def run(g: Graph, out: Tensor, weights: dict[str, Array] | None = None, **inputs: Array) -> Array:
    """`out` of the graph: float32 inputs become weights' twins by name."""
    g.output(out)
    backend = ReferenceBackend(Files(**(weights or {})), 1 << 30)  # type: ignore[arg-type]
    executable = backend.prepare(make_plan(g))
    for name, values in inputs.items():
        if values.dtype == np.float32:
            executable.inputs[name] = executable.inputs[name].view(np.float32)
    return executable(inputs)


def floats(*shape: int) -> Array:
    return rng.standard_normal(shape).astype(np.float32)


def leaf(g: Graph, name: str, values: Array) -> Tensor:
    return g.weight(name, values.shape, F32)


def one(op: str, *arrays: Array, **params: Any) -> Array:
    """A constructor of `Graph` applied to float32 arrays."""
    g = Graph()
    names = [f"a{i}" for i in range(len(arrays))]
    leaves = [leaf(g, n, a) for n, a in zip(names, arrays, strict=True)]
    built = g.glu(op, *leaves) if op in GLU_OPS else getattr(g, op)(*leaves, **params)
    return run(g, built, dict(zip(names, arrays, strict=True)))


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


def _turned(x: Array, position: float, mode: RopeMode, n_dims: int, base: float) -> Array:
    """A head turned pair by pair, as complex numbers."""
    y = x.astype("f8").copy()
    half = n_dims // 2
    for i in range(half):
        a, b = (i, i + half) if mode is RopeMode.NEOX else (2 * i, 2 * i + 1)
        z = complex(x[a], x[b]) * np.exp(1j * position * base ** (-2 * i / n_dims))
        y[a], y[b] = z.real, z.imag
    return y


@pytest.mark.parametrize("mode", list(RopeMode))
@pytest.mark.parametrize("n_dims", [8, 6])
def test_rope_turns_pairs_by_their_angle(mode: RopeMode, n_dims: int) -> None:
    x, positions = floats(2, 3, 8), np.array([0, 1234], np.int32)
    g = Graph()
    params = RopeParams(mode, n_dims, 10000.0)
    out = g.rope(leaf(g, "x", x), g.input("positions", (2,)), params)
    found = run(g, out, {"x": x}, positions=positions)
    for t, h in np.ndindex(2, 3):
        expected = _turned(x[t, h], positions[t], mode, n_dims, 10000.0)
        np.testing.assert_allclose(found[t, h], expected, rtol=1e-5, atol=1e-6)


def test_yarn_leaves_fast_pairs_and_stretches_slow_ones() -> None:
    n, factor, original = 64, 4.0, 4096
    x = np.zeros((1, 1, n), np.float32)
    x[..., : n // 2] = 1
    positions = np.array([1000], np.int32)
    g = Graph()
    params = RopeParams(
        RopeMode.NEOX, n, 10000.0, freq_scale=1 / factor, ext_factor=1.0, n_ctx_orig=original
    )
    out = g.rope(leaf(g, "x", x), g.input("positions", (1,)), params)
    found = run(g, out, {"x": x}, positions=positions)[0, 0]
    magnitude = 1 + 0.1 * log(factor)
    fast = 1000 * 1.0
    slow = 1000 * 10000.0 ** (-62 / 64) / factor
    assert found[0] == pytest.approx(np.cos(fast) * magnitude, rel=1e-5)
    assert found[31] == pytest.approx(np.cos(slow) * magnitude, rel=1e-5)


def _attention(
    q: Array, k: Array, v: Array, position: int, p: AttentionParams, sink: float | None, head: int
) -> Array:
    """One query of one head over the keys that it sees, in float64."""
    last = position if p.causal else min(len(k) - 1, position + (p.window // 2 or len(k)))
    before = p.window - 1 if p.causal else p.window // 2
    first = max(0, position - before) if p.window else 0
    first = position // p.chunk * p.chunk if p.chunk else first
    s = k[first : last + 1].astype("f8") @ q.astype("f8") * p.scale
    if p.softcap:
        s = p.softcap * np.tanh(s / p.softcap)
    if p.max_bias:
        s -= SLOPES[head] * np.abs(np.arange(first, last + 1) - position)
    top = max(s.max(), sink) if sink is not None else s.max()
    w = np.exp(s - top)
    total = w.sum() + (np.exp(sink - top) if sink is not None else 0)
    return (w / total) @ v[first : last + 1].astype("f8")


SLOPES = [0.25, 0.0625, 0.015625, 0.00390625, 0.5, 0.125]
"""ALiBi's for six heads and a largest bias of 8: 2^-2 ... 2^-8, then 2^-1, 2^-3."""


@pytest.mark.parametrize(
    ("params", "with_sinks"),
    [
        (AttentionParams(0.3), False),
        (AttentionParams(0.3, window=5), False),
        (AttentionParams(0.3, softcap=2.0), False),
        (AttentionParams(0.3), True),
        (AttentionParams(0.3, causal=False), True),
        (AttentionParams(0.3, causal=False, window=5), False),
        (AttentionParams(0.3, max_bias=8.0), False),
        (AttentionParams(0.3, chunk=8), True),
        (AttentionParams(0.3, softcap=2.0, causal=False, max_bias=8.0), True),
    ],
)
def test_attention_over_scattered_pages(params: AttentionParams, with_sinks: bool) -> None:
    n_head, n_kv, d = 6, 2, 8
    lengths, pages = [70, 3], [[3, 0], [2]]
    keys = [floats(n, n_kv, d) for n in lengths]
    values = [floats(n, n_kv, d) for n in lengths]
    new = [4, 1]
    g = Graph()
    k_cache, v_cache = (g.cache(n, (4, n_kv, PAGE_SIZE, d), F32) for n in "kv")
    everything = sum(lengths)
    slots = g.input("slots", (everything,))
    k_all, v_all = np.concatenate(keys), np.concatenate(values)
    k_after = g.set_rows(k_cache, leaf(g, "k_rows", k_all), slots)
    v_after = g.set_rows(v_cache, leaf(g, "v_rows", v_all), slots)
    n_tok = sum(new)
    q, sinks = floats(n_tok, n_head, d), floats(n_head)
    out = g.flash_attn_ext(
        leaf(g, "q", q),
        k_after,
        v_after,
        g.input("positions", (n_tok,)),
        g.input("seq_ids", (n_tok,)),
        g.input("block_table", (2, 2)),
        params,
        leaf(g, "sinks", sinks) if with_sinks else None,
    )
    table = np.array([pages[0], [pages[1][0], 0]], np.int32)
    positions = np.concatenate([np.arange(n - m, n) for n, m in zip(lengths, new, strict=True)])
    seq_ids = np.repeat([0, 1], new).astype(np.int32)
    where = np.concatenate(
        [
            table[s, np.arange(n) // PAGE_SIZE] * PAGE_SIZE + np.arange(n) % PAGE_SIZE
            for s, n in enumerate(lengths)
        ]
    )
    found = run(
        g,
        out,
        {"q": q, "k_rows": k_all, "v_rows": v_all, "sinks": sinks},
        slots=where.astype(np.int32),
        positions=positions.astype(np.int32),
        seq_ids=seq_ids,
        block_table=table,
    )
    for t, h in np.ndindex(n_tok, n_head):
        s, kv = seq_ids[t], h // (n_head // n_kv)
        sink = float(sinks[h]) if with_sinks else None
        expected = _attention(
            q[t, h], keys[s][:, kv], values[s][:, kv], int(positions[t]), params, sink, h
        )
        np.testing.assert_allclose(found[t, h], expected, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize(("name", "bound"), [("F16", 1e-6), ("Q8_0", 1e-3), ("Q4_0", 0.05)])
def test_a_cache_of_a_smaller_type_keeps_what_its_type_can(name: str, bound: float) -> None:
    g = Graph()
    d = 32
    k_cache, v_cache = (g.cache(n, (1, 1, PAGE_SIZE, d), quant_type(name)) for n in "kv")
    rows = floats(1, 1, d)
    slots = g.input("slots", (1,))
    k_after = g.set_rows(k_cache, leaf(g, "rows", rows), slots)
    v_after = g.set_rows(v_cache, leaf(g, "rows", rows), slots)
    zeros = [g.input(n, s) for n, s in (("p", (1,)), ("s", (1,)), ("t", (1, 1)))]
    out = g.flash_attn_ext(leaf(g, "rows", rows), k_after, v_after, *zeros, AttentionParams(1.0))
    found = run(g, out, {"rows": rows}, slots=np.zeros(1, np.int32))
    assert ((found - rows) ** 2).sum() / (rows**2).sum() < bound


def test_rows_that_nobody_wrote_do_not_reach_the_result() -> None:
    g = Graph()
    cache = g.cache("kv", (1, 1, PAGE_SIZE, 8), F32)
    rows = floats(1, 1, 8)
    after = g.set_rows(cache, leaf(g, "rows", rows), g.input("slots", (1,)))
    zeros = [g.input(n, s) for n, s in (("p", (1,)), ("s", (1,)), ("t", (1, 1)))]
    g.output(g.flash_attn_ext(leaf(g, "rows", rows), after, after, *zeros, AttentionParams(1.0)))
    backend = ReferenceBackend(Files(rows=rows), 1 << 20)  # type: ignore[arg-type]
    executable = backend.prepare(make_plan(g))
    backend.caches["kv"][...] = np.nan
    np.testing.assert_allclose(executable({}), rows, rtol=1e-6)
