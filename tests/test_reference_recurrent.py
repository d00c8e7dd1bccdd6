"""Recurrent layers against plain loops in float64, and the state that they hand on."""

from __future__ import annotations

import numpy as np
import pytest
from reference_runs import Array, Files, floats

from gguf_run.graph import F32, I32, DeltaParams, Graph, Tensor
from gguf_run.plan import make_plan
from gguf_run.reference_backend import ReferenceBackend

SEQ_IDS = np.array([0, 0, 0, 1, 2, 2], np.int32)
"""Three sequences of three tokens, one and two."""
STATE_IN = np.array([2, -1, 0], np.int32)
STATE_OUT = np.array([2, 1, 3], np.int32)
N_STATE = 4


def rows_of(seq: int) -> list[int]:
    return [t for t, of in enumerate(SEQ_IDS) if of == seq]


def _states(g: Graph, n: int) -> tuple[Tensor, Tensor, Tensor]:
    return (
        g.cache("states", (N_STATE, n), F32),
        g.input("seq_ids", SEQ_IDS.shape, I32),
        g.input("state_in", STATE_IN.shape, I32),
    )


def _run(g: Graph, both: Tensor, weights: dict[str, Array], before: Array) -> tuple[Array, Array]:
    """The flat result, and the state cache after its new states were written to it."""
    n = before.shape[1]
    split = both.n_elements - len(STATE_IN) * n
    rows = g.reshape(g.view(both, split, both.n_elements), len(STATE_IN), n)
    cache = next(t for t in g.leaves if t.name == "states")
    g.output(both)
    g.set_states(cache, rows, g.input("state_out", STATE_OUT.shape, I32))
    backend = ReferenceBackend(Files(**weights), 1 << 30)  # type: ignore[arg-type]
    executable = backend.prepare(make_plan(g))
    backend.caches["states"][...] = before
    inputs = {"seq_ids": SEQ_IDS, "state_in": STATE_IN, "state_out": STATE_OUT}
    return executable(inputs)[:split], backend.caches["states"]


def test_a_convolution_sees_the_rows_of_its_own_sequence() -> None:
    n_ch, n_tap = 5, 4
    x, w, before = floats(len(SEQ_IDS), n_ch), floats(n_ch, n_tap), floats(N_STATE, 3 * n_ch)
    g = Graph()
    leaves = g.weight("x", x.shape, F32), g.weight("w", w.shape, F32)
    y, after = _run(g, g.ssm_conv(*leaves, *_states(g, 3 * n_ch)), {"x": x, "w": w}, before)
    for seq in range(3):
        rows = rows_of(seq)
        past = before[STATE_IN[seq]].reshape(3, n_ch) if STATE_IN[seq] >= 0 else np.zeros((3, n_ch))
        history = np.concatenate([past, x[rows]])
        for i, row in enumerate(rows):
            expected = sum(w[:, tap] * history[i + tap] for tap in range(n_tap))
            np.testing.assert_allclose(y.reshape(x.shape)[row], expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(after[STATE_OUT[seq]], history[-3:].reshape(-1))
    np.testing.assert_array_equal(after[0], before[0])


@pytest.mark.parametrize("in_turn", [False, True])
def test_the_delta_rule_replaces_what_a_key_stood_for(in_turn: bool) -> None:
    n_tok, h_k, h_v, d = len(SEQ_IDS), 2, 4, 8
    arrays = {"q": floats(n_tok, h_k, d), "k": floats(n_tok, h_k, d), "v": floats(n_tok, h_v, d)}
    arrays |= {"decay": -np.abs(floats(n_tok, h_v)), "beta": np.abs(floats(n_tok, h_v))}
    before = floats(N_STATE, h_v * d * d)
    g = Graph()
    q, k, v, decay, beta = (g.weight(name, a.shape, F32) for name, a in arrays.items())
    states, *rest = _states(g, h_v * d * d)
    both = g.gated_delta_net((q, k, v), decay, beta, states, *rest, DeltaParams(in_turn))
    o, after = _run(g, both, arrays, before)
    for seq in range(3):
        for head in range(h_v):
            source = head % h_k if in_turn else head // (h_v // h_k)
            at = STATE_IN[seq]
            s = before[at].reshape(h_v, d, d)[head].astype("f8") if at >= 0 else np.zeros((d, d))
            for t in rows_of(seq):
                key = arrays["k"][t, source]
                s = s * np.exp(arrays["decay"][t, head])
                s += arrays["beta"][t, head] * np.outer(arrays["v"][t, head] - s @ key, key)
                found = o.reshape(n_tok, h_v, d)[t, head]
                expected = s @ arrays["q"][t, source]
                np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
            kept = after[STATE_OUT[seq]].reshape(h_v, d, d)[head]
            np.testing.assert_allclose(kept, s, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("wide", [False, True])
def test_a_state_space_forgets_by_its_rates_and_takes_in_what_comes(wide: bool) -> None:
    n_tok, n_head, n_group, d, n = len(SEQ_IDS), 4, 2, 3, 8
    arrays = {"x": floats(n_tok, n_head, d), "dt": floats(n_tok, n_head), "d": floats(n_head)}
    arrays |= {name: floats(n_tok, n_group, n) for name in "bc"}
    arrays["a"] = -np.abs(floats(n_head, n if wide else 1))
    before = floats(N_STATE, n_head * d * n)
    g = Graph()
    leaf = {name: g.weight(name, a.shape, F32) for name, a in arrays.items()}
    inputs = (leaf["x"], leaf["dt"], leaf["a"], leaf["d"], (leaf["b"], leaf["c"]))
    y, after = _run(g, g.ssm_scan(*inputs, *_states(g, before.shape[1])), arrays, before)
    for seq, head in np.ndindex(3, n_head):
        at, group = STATE_IN[seq], head // (n_head // n_group)
        s = before[at].reshape(n_head, d, n)[head].astype("f8") if at >= 0 else np.zeros((d, n))
        for t in rows_of(seq):
            step, x = np.log1p(np.exp(arrays["dt"][t, head])), arrays["x"][t, head]
            s = s * np.exp(step * arrays["a"][head]) + step * np.outer(x, arrays["b"][t, group])
            expected = s @ arrays["c"][t, group] + arrays["d"][head] * x
            np.testing.assert_allclose(
                y.reshape(n_tok, n_head, d)[t, head], expected, rtol=1e-3, atol=1e-4
            )
        kept = after[STATE_OUT[seq]].reshape(n_head, d, n)[head]
        np.testing.assert_allclose(kept, s, rtol=1e-3, atol=1e-4)
