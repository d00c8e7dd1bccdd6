"""Convolutions and the gated delta rule: sequences with and without a past, or without tokens."""

from __future__ import annotations

import numpy as np
from case_data import Array, Draw, normal, values
from cases import Build, Case

from gguf_run.graph import F32, DeltaParams, Graph, Tensor

N_STATE = 6


def seq_ids(*counts: int) -> Array:
    """Sequences of these numbers of tokens, one behind the other."""
    return np.repeat(np.arange(len(counts)), counts).astype(np.int32)


def states_of(counts: tuple[int, ...]) -> dict[str, Draw]:
    """Every second sequence begins with a state of the cache; all keep theirs."""
    n_seq = len(counts)
    begin = [5 - s if s % 2 == 0 else -1 for s in range(n_seq)]
    return {
        "seq_ids": values(seq_ids(*counts)),
        "state_in": values(begin),
        "state_out": values([(5 - s) if s else 0 for s in range(n_seq)]),
    }


def _kept(g: Graph, both: Tensor, cache: Tensor, n: int, n_seq: int) -> list[Tensor]:
    rows = g.reshape(g.view(both, n, both.n_elements), n_seq, cache.shape[1])
    return [both, g.set_states(cache, rows, g.input("state_out", (n_seq,)))]


def conv(counts: tuple[int, ...], n_ch: int, n_tap: int, start: int = 0) -> Build:
    """x is a slice of wider rows where it does not start at 0."""
    n_tok, n_seq = sum(counts), len(counts)

    def build(g: Graph) -> list[Tensor]:
        x = g.view(g.input("x", (n_tok, n_ch + start), F32), start, start + n_ch)
        w = g.weight("w", (n_ch, n_tap), F32)
        cache = g.cache("states", (N_STATE, (n_tap - 1) * n_ch), F32)
        both = g.ssm_conv(x, w, cache, g.input("seq_ids", (n_tok,)), g.input("state_in", (n_seq,)))
        return _kept(g, both, cache, x.n_elements, n_seq)

    return build


def delta(
    counts: tuple[int, ...],
    heads: tuple[int, int],
    widths: tuple[int, int],
    in_turn: bool = False,
    start: int = 0,
    wide: bool = False,
) -> Build:
    """`heads` of keys and values, their `widths`; q, k and v are slices of one row; `wide`: a decay
    for each column of a head's state."""
    n_tok, n_seq, (h_k, h_v), (d_k, d_v) = sum(counts), len(counts), heads, widths
    n_key, n_value = h_k * d_k, h_v * d_v

    def build(g: Graph) -> list[Tensor]:
        row = g.input("qkv", (n_tok, start + 2 * n_key + n_value), F32)

        def part(at: int, h: int, d: int) -> Tensor:
            return g.reshape(g.view(row, start + at, start + at + h * d), n_tok, h, d)

        qkv = part(0, h_k, d_k), part(n_key, h_k, d_k), part(2 * n_key, h_v, d_v)
        decay = g.input("decay", (n_tok, h_v, d_k) if wide else (n_tok, h_v), F32)
        beta = g.input("beta", (n_tok, h_v), F32)
        cache = g.cache("states", (N_STATE, n_value * d_k), F32)
        ids = g.input("seq_ids", (n_tok,)), g.input("state_in", (n_seq,))
        both = g.gated_delta_net(qkv, decay, beta, cache, *ids, DeltaParams(in_turn))
        return _kept(g, both, cache, n_tok * n_value, n_seq)

    return build


def scan(
    counts: tuple[int, ...], heads: int, head_dim: int, groups: int, d_state: int, wide: bool
) -> Build:
    """x, b and c are slices of one row; `wide`: a rate for each element of a head's state."""
    n_tok, n_seq, n_x, n_b = sum(counts), len(counts), heads * head_dim, groups * d_state

    def build(g: Graph) -> list[Tensor]:
        row = g.input("xbc", (n_tok, 3 + n_x + 2 * n_b), F32)

        def part(at: int, h: int, d: int) -> Tensor:
            return g.reshape(g.view(row, 3 + at, 3 + at + h * d), n_tok, h, d)

        x = part(0, heads, head_dim)
        bc = part(n_x, groups, d_state), part(n_x + n_b, groups, d_state)
        dt = g.view(g.input("dt", (n_tok, heads + 1), F32), 1, heads + 1)
        a = g.weight("a", (heads, d_state if wide else 1), F32)
        d = g.weight("d", (heads,), F32)
        cache = g.cache("states", (N_STATE, n_x * d_state), F32)
        ids = g.input("seq_ids", (n_tok,)), g.input("state_in", (n_seq,))
        both = g.ssm_scan(x, dt, a, d, bc, cache, *ids)
        return _kept(g, both, cache, n_tok * n_x, n_seq)

    return build


def scan_case(counts: tuple[int, ...], *sizes: int, wide: bool = False) -> Case:
    name = f"ssm_scan {counts} tokens, {sizes}{', a rate an element' if wide else ''}"
    data = {**states_of(counts), "a": normal(-1, 0.3), "d": normal(1, 0.3)}
    return Case(name, scan(counts, *sizes, wide), data)


def steady(d_k: int) -> dict[str, Draw]:
    """Keys of about unit length and rates between 0 and 1, for which states stay bounded."""
    return {
        "qkv": normal(0, d_k**-0.5),
        "decay": normal(-0.5, 0.1),
        "beta": normal(0.5, 0.1),
    }


def delta_case(counts: tuple[int, ...], heads: tuple[int, int], widths: tuple[int, int]) -> Case:
    name = f"gated_delta_net {counts} tokens, heads {heads} of {widths}"
    data = {**states_of(counts), **steady(widths[0])}
    return Case(name, delta(counts, heads, widths), data, tolerance=1e-6)


COUNTS = ((1,), (2,), (7,), (1, 1, 1), (0, 3, 1, 0), (5, 2, 9))

CASES = [
    *(Case(f"ssm_conv {c} tokens", conv(c, 33, 4), states_of(c)) for c in COUNTS),
    *(
        Case(
            f"ssm_conv {n_ch} channels, {n_tap} taps", conv((3, 1), n_ch, n_tap), states_of((3, 1))
        )
        for n_ch, n_tap in ((1, 2), (300, 3), (256, 7))
    ),
    *(scan_case(c, 4, 16, 2, 16) for c in COUNTS),
    *(scan_case(c, 40, 1, 1, 16, wide=True) for c in COUNTS),
    *(
        scan_case((3, 0, 2), *sizes, wide=wide)
        for *sizes, wide in (
            (2, 64, 1, 128, False),
            (6, 20, 3, 256, False),
            (3, 7, 1, 33, False),
            (5, 1, 1, 100, True),
            (70, 1, 1, 7, True),
        )
    ),
    scan_case((40,), 2, 32, 1, 64),
    Case("ssm_conv of a slice", conv((3, 1), 40, 4, start=5), states_of((3, 1))),
    *(delta_case(c, (2, 4), (16, 16)) for c in COUNTS),
    *(
        delta_case((3, 0, 2), heads, widths)
        for heads, widths in (
            ((1, 1), (128, 128)),
            ((2, 6), (64, 20)),
            ((1, 3), (33, 5)),
            ((1, 2), (256, 17)),
            ((3, 3), (7, 9)),
        )
    ),
    delta_case((40,), (2, 2), (32, 32)),
    *(
        Case(
            f"gated_delta_net {c} tokens, heads {h} of {w}, a decay a column",
            delta(c, h, w, wide=True),
            {**states_of(c), **steady(w[0])},
            tolerance=1e-6,
        )
        for c, h, w in (
            ((5, 2, 9), (2, 4), (16, 16)),
            ((1,), (3, 3), (128, 128)),
            ((3, 0, 2), (1, 2), (33, 5)),
            ((2,), (1, 2), (256, 17)),
        )
    ),
    *(
        Case(
            f"gated_delta_net, heads {'in turn' if in_turn else 'in groups'}, slices from {start}",
            delta((4, 2), (2, 6), (16, 16), in_turn, start),
            {**states_of((4, 2)), **steady(16)},
            tolerance=1e-6,
        )
        for in_turn, start in ((True, 0), (True, 3), (False, 3))
    ),
]
