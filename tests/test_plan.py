"""Plans: what is fused, where results lie, and which steps must wait for which."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gguf_run.fusion import FUSIONS, Fusion
from gguf_run.graph import F32, Graph, Kind, RopeMode, RopeParams, Tensor
from gguf_run.plan import ARENA_ALIGNMENT, Plan, format_plan, make_plan

ROPE = RopeParams(RopeMode.NORM, 8, 10000.0)


def _ops(plan: Plan) -> list[str]:
    return [step.op for step in plan.steps]


def _normed(g: Graph, x: Tensor, name: str = "norm") -> Tensor:
    return g.mul(g.rms_norm(x, 1e-5), g.weight(name, x.shape[-1:], F32))


def test_a_norm_and_its_weight_become_one_step() -> None:
    g = Graph()
    g.output(_normed(g, g.input("x", (2, 8), F32)))
    plan = make_plan(g)
    assert _ops(plan) == ["rms_norm_mul"]
    assert [part.op for part in plan.steps[0].parts] == ["rms_norm", "mul"]


def test_without_fusions_every_op_is_a_step() -> None:
    g = Graph()
    g.output(_normed(g, g.input("x", (2, 8), F32)))
    assert _ops(make_plan(g, ())) == ["rms_norm", "mul"]


def test_a_result_that_others_read_is_not_swallowed() -> None:
    g = Graph()
    bare = g.rms_norm(g.input("x", (2, 8), F32), 1e-5)
    g.output(g.add(g.mul(bare, g.weight("w", (8,), F32)), bare))
    assert _ops(make_plan(g)) == ["rms_norm", "mul", "add"]


def test_an_output_is_not_swallowed() -> None:
    g = Graph()
    bare = g.output(g.rms_norm(g.input("x", (2, 8), F32), 1e-5))
    g.output(g.mul(bare, g.weight("w", (8,), F32)))
    assert _ops(make_plan(g)) == ["rms_norm", "mul"]


def test_fusions_reach_through_views() -> None:
    g = Graph()
    y = g.mul_mat(g.weight("w", (16, 8), F32), g.input("x", (2, 8), F32))
    heads = _normed(g, g.reshape(y, 2, 2, 8))
    g.output(g.rope(heads, g.input("positions", (2,)), ROPE))
    assert _ops(make_plan(g)) == ["mul_mat", "rms_norm_mul_rope"]


def test_a_shared_part_is_written_out_too() -> None:
    g = Graph()
    total = g.add(g.input("a", (2, 8), F32), g.input("b", (2, 8), F32))
    g.output(g.add(_normed(g, total), total))
    fusion = Fusion("add_norm", "s = add(a, b); n = rms_norm(s); y = mul(n, w); keep: s")
    plan = make_plan(g, (fusion,))
    assert _ops(plan) == ["add_norm", "add"]
    assert [t.op for t in plan.steps[0].outputs] == ["add", "mul"]


def test_a_shared_part_never_moves_a_step_ahead_of_what_it_reads() -> None:
    g = Graph()
    total = g.add(g.input("a", (2, 8), F32), g.input("b", (2, 8), F32))
    late = g.scale(total, 2.0)
    g.output(g.mul(total, late))
    fusion = Fusion("add_mul", "s = add(a, b); y = mul(s, o); keep: s")
    assert _ops(make_plan(g, (fusion,))) == ["add", "scale", "mul"]


def test_a_cache_is_read_after_it_was_written() -> None:
    g = Graph()
    cache = g.cache("k", (1, 2, 64, 8), F32)
    rows, slots = g.input("rows", (1, 2, 8), F32), g.input("slots", (1,))
    g.set_rows(cache, rows, slots)
    g.output(g.set_rows(cache, rows, slots))
    assert [step.edges for step in make_plan(g).steps] == [(), (0,)]


def test_steps_that_share_nothing_have_no_edge() -> None:
    g = Graph()
    x = g.input("x", (2, 8), F32)
    a, b = g.scale(x, 2.0), g.scale(x, 3.0)
    g.output(g.add(a, b))
    assert [step.edges for step in make_plan(g).steps] == [(), (), (0, 1)]


def test_a_workspace_overlaps_nothing_that_is_alive() -> None:
    g = Graph()
    a = g.scale(g.input("x", (2, 8), F32), 2.0)
    b = g.output(g.scale(a, 3.0))
    plan = make_plan(g, (), lambda op, parts: 1000)
    at = plan.steps[1].workspace
    assert at is not None
    for t in (a, b):
        assert plan.offsets[t] + t.n_bytes <= at or at + 1000 <= plan.offsets[t]


def test_the_text_names_ops_shapes_bytes_and_edges() -> None:
    g = Graph()
    table = g.weight("token_embd.weight", (10, 8), F32)
    g.output(_normed(g, g.get_rows(table, g.input("tokens", (2,)))))
    text = format_plan(make_plan(g))
    assert "get_rows" in text
    assert "rms_norm_mul" in text
    assert "token_embd.weight:F32[10, 8]" in text
    assert "2 steps" in text


def test_get_rows_reads_only_the_rows_it_gives() -> None:
    g = Graph()
    g.output(g.get_rows(g.weight("w", (1000, 8), F32), g.input("tokens", (2,))))
    step = make_plan(g).steps[0]
    assert (step.bytes_read, step.bytes_written) == (2 * 32 + 2 * 4, 2 * 32)


@st.composite
def _random_graphs(draw: st.DrawFn) -> Graph:
    g = Graph()
    known = [g.input("x", (2, 8), F32)]
    for _ in range(draw(st.integers(1, 25))):
        a, b = (known[draw(st.integers(0, len(known) - 1))] for _ in "ab")
        makers = (
            lambda a=a, b=b: g.add(a, b),
            lambda a=a, b=b: g.mul(a, b),
            lambda a=a: g.rms_norm(a, 1e-5),
            lambda a=a: _normed(g, a),
            lambda a=a: g.mul_mat(g.weight("m", (8, 8), F32), a),
        )
        known.append(makers[draw(st.integers(0, len(makers) - 1))]())
    g.output(known[-1])
    return g


def _written(plan: Plan) -> list[tuple[int, int, int]]:
    """(offset, end, step) of every result in the arena."""
    return [
        (plan.offsets[t], plan.offsets[t] + t.n_bytes, step.index)
        for step in plan.steps
        for t in step.outputs
        if t.kind is Kind.OP
    ]


@settings(max_examples=150, deadline=None)
@given(_random_graphs(), st.booleans())
def test_edges_order_every_two_steps_that_touch_the_same_bytes(g: Graph, fuse: bool) -> None:
    plan = make_plan(g, FUSIONS if fuse else ())
    n = len(plan.steps)
    before = np.zeros((n, n), bool)
    for step in plan.steps:
        for edge in step.edges:
            assert edge < step.index
            before[step.index] |= before[edge]
            before[step.index, edge] = True
    touched = [
        [
            (plan.offsets[t.base], plan.offsets[t.base] + t.base.n_bytes, writes)
            for tensors, writes in ((step.inputs, False), (step.outputs, True))
            for t in tensors
            if t.base in plan.offsets
        ]
        for step in plan.steps
    ]
    for i, j in combinations(range(n), 2):
        clash = any(
            lo < hi2 and lo2 < hi and (w or w2)
            for lo, hi, w in touched[i]
            for lo2, hi2, w2 in touched[j]
        )
        assert not clash or before[j, i]


@settings(max_examples=150, deadline=None)
@given(_random_graphs(), st.booleans())
def test_no_result_is_overwritten_while_somebody_will_read_it(g: Graph, fuse: bool) -> None:
    plan = make_plan(g, FUSIONS if fuse else ())
    made = {t: step.index for step in plan.steps for t in step.outputs}
    for step in plan.steps:
        for t in step.inputs:
            if t.base.kind is not Kind.OP:
                continue
            lo = plan.offsets[t.base]
            for start, stop, index in _written(plan):
                if made[t.base] < index <= step.index:
                    assert stop <= lo or lo + t.base.n_bytes <= start


@settings(max_examples=100, deadline=None)
@given(_random_graphs())
def test_fused_steps_hold_every_op_once_in_an_order_that_works(g: Graph) -> None:
    plan = make_plan(g)
    parts = [part for step in plan.steps for part in step.parts]
    assert sorted(map(id, parts)) == sorted(map(id, g.tensors))
    seen: set[Tensor] = set()
    for part in parts:
        assert all(s in seen or s.kind is not Kind.OP for s in part.srcs)
        seen.add(part)


def test_offsets_are_aligned_for_wide_loads() -> None:
    g = Graph()
    x = g.input("x", (1, 3), F32)
    g.output(g.add(g.scale(x, 2.0), g.scale(x, 3.0)))
    assert all(offset % ARENA_ALIGNMENT == 0 for offset in make_plan(g).offsets.values())


def _qkv(g: Graph, x: Tensor, bias: bool = False) -> list[Tensor]:
    results = []
    for name in "qkv":
        y = g.mul_mat(g.weight(f"w{name}", (8, 8), F32), x)
        results.append(g.add(y, g.weight(f"b{name}", (8,), F32)) if bias else y)
    return results


QKV = Fusion(
    "norm_qkv",
    """n = rms_norm(x); m = mul(n, w);
       q = mul_mat(wq, m); k = mul_mat(wk, m); v = mul_mat(wv, m);
       qb ?= add(q, bq); kb ?= add(k, bk); vb ?= add(v, bv); keep: q k v qb kb vb""",
)


@pytest.mark.parametrize("bias", [False, True])
def test_a_pattern_may_branch_and_have_parts_that_may_be_missing(bias: bool) -> None:
    g = Graph()
    for t in _qkv(g, _normed(g, g.input("x", (2, 8), F32)), bias):
        g.output(t)
    plan = make_plan(g, (QKV,))
    assert _ops(plan) == ["norm_qkv"]
    assert len(plan.steps[0].outputs) == 3
    assert len(plan.steps[0].parts) == 5 + 3 * bias


def test_a_branch_that_a_fourth_op_reads_is_not_fused() -> None:
    g = Graph()
    normed = _normed(g, g.input("x", (2, 8), F32))
    for t in _qkv(g, normed):
        g.output(t)
    g.output(g.scale(normed, 2.0))
    assert "norm_qkv" not in _ops(make_plan(g, (QKV,)))


def test_a_name_stands_for_one_tensor_throughout_a_pattern() -> None:
    square = Fusion("twice", "a = scale(x); y = mul(a, x)")
    g = Graph()
    x, other = g.input("x", (2, 8), F32), g.input("other", (2, 8), F32)
    g.output(g.mul(x, g.scale(x, 2.0)))
    g.output(g.mul(g.scale(x, 2.0), other))
    assert _ops(make_plan(g, (square,))) == ["twice", "scale", "mul"]


def test_an_alternative_matches_either_op() -> None:
    fusion = Fusion("norm", "n = rms_norm|norm(x); y = mul(n, w)")
    g = Graph()
    g.output(g.mul(g.norm(g.input("x", (2, 8), F32), 1e-5), g.weight("w", (8,), F32)))
    assert _ops(make_plan(g, (fusion,))) == ["norm"]


def test_a_group_whose_input_needs_its_output_is_not_fused() -> None:
    g = Graph()
    x = g.input("x", (2, 8), F32)
    first = g.scale(x, 2.0)
    between = g.rms_norm(first, 1e-5)
    g.output(g.add(first, between))
    fusion = Fusion("scale_add", "s = scale(x); y = add(s, o); keep: s")
    assert _ops(make_plan(g, (fusion,))) == ["scale", "rms_norm", "add"]


def test_groups_that_need_each_other_are_an_error_not_a_hang() -> None:
    g = Graph()
    (x, z), w = (g.input(name, (2, 8), F32) for name in "xz"), 2.0
    left, right = g.scale(x, w), g.scale(z, w)
    g.output(g.add(left, g.rms_norm(right, 1e-5)))
    g.output(g.add(right, g.rms_norm(left, 1e-5)))
    fusion = Fusion("scale_add", "s = scale(x); y = add(s, o); keep: s y")
    with pytest.raises(AssertionError, match="need each other"):
        make_plan(g, (fusion,))


def test_a_pattern_that_is_no_pattern_is_refused() -> None:
    with pytest.raises(ValueError, match="expected 'name = op"):
        Fusion("bad", "rms_norm x")


def test_a_pattern_goes_up_from_an_op_that_reads_it() -> None:
    g = Graph()
    x = g.input("x", (2, 8), F32)
    left, right = g.scale(x, 2.0), g.rms_norm(g.input("z", (2, 8), F32), 1e-5)
    g.output(g.add(left, right))
    fusion = Fusion("scale_add_norm", "s = scale(x); y = add(s, n); n = rms_norm(z) keep: y")
    assert _ops(make_plan(g, (fusion,))) == ["scale_add_norm"]


def test_a_backend_may_refuse_a_group() -> None:
    g = Graph()
    g.output(_normed(g, g.input("x", (2, 8), F32)))
    assert _ops(make_plan(g, FUSIONS, None, lambda name, parts: False)) == ["rms_norm", "mul"]
