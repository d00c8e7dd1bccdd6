"""What a product's kernel may add to it."""

from __future__ import annotations

import pytest

from gguf_run.cuda.ops.product import product_of
from gguf_run.graph import F16, F32, Graph, Tensor
from gguf_run.quants import QuantType

N_OUT = 16


def product_and_sum(shape: tuple[int, ...], dtype: QuantType) -> tuple[Tensor, Tensor]:
    g = Graph()
    product = g.mul_mat(g.weight("w", (N_OUT, 32), F32), g.input("x", (3, 32), F32))
    return product, g.add(product, g.weight("b", shape, dtype))


@pytest.mark.parametrize("dtype", [F32, F16])
def test_a_vector_is_f32_on_the_device_and_can_be_added(dtype: QuantType) -> None:
    found = product_of(product_and_sum((N_OUT,), dtype))
    assert found is not None
    assert found.add_stride == 0


def test_a_matrix_can_be_added_where_it_is_f32() -> None:
    found = product_of(product_and_sum((3, N_OUT), F32))
    assert found is not None
    assert found.add_stride == N_OUT
    assert product_of(product_and_sum((3, N_OUT), F16)) is None
