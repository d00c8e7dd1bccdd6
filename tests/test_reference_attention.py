"""The reference's rotations and attention against formulas written out plainly, in float64."""

from __future__ import annotations

from math import log

import numpy as np
import pytest
from reference_runs import Array, Files, floats, leaf, run

from gguf_run.graph import (
    F32,
    AttentionParams,
    Graph,
    RopeMode,
    RopeParams,
)
from gguf_run.kv_cache import PAGE_SIZE
from gguf_run.plan import make_plan
from gguf_run.quants import quant_type
from gguf_run.reference_backend import ReferenceBackend


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
