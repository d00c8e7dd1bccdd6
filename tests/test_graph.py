"""Graphs refuse what does not fit, and views say where their bytes lie."""

from __future__ import annotations

import pytest

from gguf_run.fusion import producer
from gguf_run.graph import (
    F16,
    F32,
    GLU_OPS,
    I32,
    OPS,
    Q8_1,
    AttentionParams,
    Graph,
    RopeMode,
    RopeParams,
)
from gguf_run.quants import quant_type


@pytest.fixture
def g() -> Graph:
    return Graph()


def test_a_product_takes_its_shape_from_weight_rows_and_tokens(g: Graph) -> None:
    y = g.mul_mat(g.weight("w", (6, 32), quant_type("Q4_0")), g.input("x", (3, 32), F32))
    assert (y.shape, y.dtype, y.op) == ((3, 6), F32, "mul_mat")


def test_a_product_of_rows_that_differ_in_length_is_refused(g: Graph) -> None:
    with pytest.raises(ValueError, match=r"mul_mat: expected w \(n_out, n_in\)"):
        g.mul_mat(g.weight("w", (6, 32), F32), g.input("x", (3, 31), F32))


def test_the_same_leaf_is_made_once(g: Graph) -> None:
    assert g.weight("w", (2, 2), F32) is g.weight("w", (2, 2), F32)
    with pytest.raises(ValueError, match="w: expected weight"):
        g.weight("w", (2, 3), F32)


def test_a_column_view_keeps_the_row_stride_and_knows_its_offset(g: Graph) -> None:
    x = g.input("x", (4, 12), F32)
    part = g.view(x, 8, 12)
    assert (part.shape, part.strides, part.offset, part.base) == ((4, 4), (12, 1), 8, x)
    assert not part.is_contiguous
    heads = g.reshape(part, 4, 2, 2)
    assert (heads.strides, heads.offset) == ((12, 2, 1), 8)


def test_a_view_with_gaps_may_only_split_its_last_dimension(g: Graph) -> None:
    part = g.view(g.input("x", (4, 12), F32), 0, 4)
    with pytest.raises(ValueError, match="without gaps"):
        g.reshape(part, 16)


def test_a_view_beyond_the_row_is_refused(g: Graph) -> None:
    with pytest.raises(ValueError, match="at least 13 columns"):
        g.view(g.input("x", (4, 12), F32), 8, 13)


def test_set_rows_shows_the_cache_that_it_writes(g: Graph) -> None:
    cache = g.cache("k", (2, 3, 64, 8), F16)
    after = g.set_rows(cache, g.input("rows", (5, 3, 8), F32), g.input("slots", (5,)))
    assert after.base is cache
    assert after.dtype is F16
    assert producer(after) is after


def test_rope_of_more_elements_than_a_head_has_is_refused(g: Graph) -> None:
    x, positions = g.input("x", (2, 4, 8), F32), g.input("p", (2,))
    with pytest.raises(ValueError, match="rope"):
        g.rope(x, positions, RopeParams(RopeMode.NEOX, 16, 10000.0))


def test_attention_with_heads_that_do_not_divide_is_refused(g: Graph) -> None:
    q = g.input("q", (2, 5, 8), F32)
    k = g.cache("k", (2, 2, 64, 8), F16)
    positions, seqs, table = g.input("p", (2,)), g.input("s", (2,)), g.input("t", (1, 2))
    with pytest.raises(ValueError, match="flash_attn_ext"):
        g.flash_attn_ext(q, k, k, positions, seqs, table, AttentionParams(1.0))


def test_adding_takes_equal_shapes_or_one_row(g: Graph) -> None:
    a = g.input("a", (2, 4), F32)
    assert g.add(a, g.input("row", (4,), F32)).shape == (2, 4)
    with pytest.raises(ValueError, match="add"):
        g.add(a, g.input("other", (2, 3), F32))


def test_block_types_count_bytes_by_blocks(g: Graph) -> None:
    assert g.weight("w", (6, 64), quant_type("Q4_0")).n_bytes == 6 * 2 * 18
    assert g.cast(g.input("x", (2, 64), F32), Q8_1).n_bytes == 2 * 2 * 40


def test_a_cast_needs_whole_blocks(g: Graph) -> None:
    with pytest.raises(ValueError, match="cast"):
        g.cast(g.input("x", (2, 33), F32), Q8_1)


def test_top_k_and_argmax_give_indices(g: Graph) -> None:
    x = g.input("x", (2, 9), F32)
    assert (g.top_k(x, 3).shape, g.top_k(x, 3).dtype) == ((2, 3), I32)
    assert g.argmax(x).shape == (2,)
    with pytest.raises(ValueError, match="top_k"):
        g.top_k(x, 10)


def test_every_gated_unit_is_an_op() -> None:
    assert set(GLU_OPS) <= set(OPS)
