"""What steps must move and compute at least, counted by hand beside the functions."""

from __future__ import annotations

import pytest

from gguf_run.costs import Cost, step_cost, total_cost
from gguf_run.fusion import Fusion
from gguf_run.graph import F16, F32, AttentionParams, Graph
from gguf_run.plan import Plan, make_plan
from gguf_run.quants import quant_type


def attention(n_tok: int, window: int = 0, shared: bool = False, n_page: int = 4) -> Plan:
    """Two KV heads of 8, six query heads, pages of 4 keys in F16; values are the keys' first half
    where `shared`."""
    g = Graph()
    keys = g.cache("k", (16, 2, 4, 8), F16)
    values = g.view(keys, 0, 4) if shared else g.cache("v", (16, 2, 4, 8), F16)
    q = g.input("q", (n_tok, 6, 8), F32)
    places = g.input("positions", (n_tok,)), g.input("seq_ids", (n_tok,))
    table = g.input("table", (1, n_page))
    g.output(g.flash_attn_ext(q, keys, values, *places, table, AttentionParams(1.0, window)))
    return make_plan(g, ())


KEY = 2 * 8 * 2
QUERY = 6 * 8 * 4
PLACES = 4 + 4


@pytest.mark.parametrize(
    ("n_tok", "n_past", "window", "seen", "n_key"),
    [
        (1, 0, 0, 1, 1),
        (1, 9, 0, 10, 10),
        (3, 4, 0, 5 + 6 + 7, 7),
        (1, 9, 4, 4, 4),
        (3, 2, 4, 3 + 4 + 4, 5),
        (3, 9, 4, 12, 6),
    ],
)
def test_attention_reads_the_keys_that_are_seen(
    n_tok: int, n_past: int, window: int, seen: int, n_key: int
) -> None:
    (step,) = attention(n_tok, window).steps
    table = 4 * 4
    assert step_cost(step, n_past) == Cost(
        bytes_read=2 * n_key * KEY + n_tok * (QUERY + PLACES) + table,
        bytes_written=n_tok * QUERY,
        flops=2 * seen * 6 * (8 + 8),
    )


def test_a_plan_counts_what_a_full_context_takes() -> None:
    (whole,), (window,) = attention(1).steps, attention(1, window=5).steps
    assert whole.bytes_read - window.bytes_read == 2 * KEY * (16 - 5)


def test_values_that_are_part_of_the_keys_are_read_once() -> None:
    (apart,), (shared,) = attention(1).steps, attention(1, shared=True).steps
    assert apart.bytes_read - shared.bytes_read == 16 * KEY


def test_products_count_two_operations_a_weight_and_token() -> None:
    g, q4 = Graph(), quant_type("Q4_0")
    x = g.input("x", (5, 64), F32)
    g.output(g.mul_mat(g.weight("w", (32, 64), q4), x))
    (step,) = make_plan(g, ()).steps
    assert step_cost(step, 0) == Cost(32 * 36 + 5 * 64 * 4, 5 * 32 * 4, 2 * 5 * 32 * 64)


def test_experts_are_counted_as_many_as_can_be_used() -> None:
    def plan(n_tok: int) -> Plan:
        g, q8 = Graph(), quant_type("Q8_0")
        ids, x = g.input("ids", (n_tok, 2)), g.input("x", (n_tok, 1, 32), F32)
        g.output(g.mul_mat_id(g.weight("w", (8, 16, 32), q8), x, ids))
        return make_plan(g, ())

    for n_tok, n_expert in ((1, 2), (3, 6), (9, 8)):
        cost = total_cost(plan(n_tok).steps, 0)
        assert cost.flops == 2 * n_tok * 2 * 16 * 32
        assert cost.bytes_read == n_expert * 16 * 34 + n_tok * (2 * 4 + 32 * 4)


def test_fused_steps_count_what_their_parts_do() -> None:
    g = Graph()
    q, k, v = (g.input(name, (1, heads, 8), F32) for name, heads in (("q", 6), ("k", 2), ("v", 2)))
    slots = g.input("slots", (1,))
    keys = g.set_rows(g.cache("kc", (16, 2, 4, 8), F16), k, slots)
    values = g.set_rows(g.cache("vc", (16, 2, 4, 8), F16), v, slots)
    places = g.input("positions", (1,)), g.input("seq_ids", (1,)), g.input("table", (1, 4))
    g.output(g.flash_attn_ext(q, keys, values, *places, AttentionParams(1.0)))
    alone = total_cost(make_plan(g, ()).steps, 7)
    assert alone.flops == 2 * 8 * 6 * 16
    pattern = "ks = set_rows(kc, k); y = flash_attn_ext(q, ks, vs); vs = set_rows(vc, v)"
    (step,) = make_plan(g, [Fusion("all", f"{pattern} keep: y ks vs")]).steps
    fused = step_cost(step, 7)
    assert fused.flops == alone.flops
    assert fused.bytes_read == alone.bytes_read
