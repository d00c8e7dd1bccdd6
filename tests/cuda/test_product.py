"""What a product's kernel may add to it, and how many tokens it may have."""

from __future__ import annotations

import pytest
from cases import Build
from launches import calls

from gguf_run.cuda.device import MAX_GRID_ROWS
from gguf_run.cuda.kernel_list import CAPABILITIES
from gguf_run.cuda.ops.product import product_of
from gguf_run.graph import F16, F32, Graph, Tensor
from gguf_run.quants import QuantType, quant_type

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


@pytest.mark.parametrize("capability", CAPABILITIES, ids="sm_{}".format)
def test_a_product_of_any_number_of_tokens_fits_a_grid(capability: int) -> None:
    """Few rows of great length, whose sums blocks would share."""

    def build(n_tok: int, n_out: int) -> Build:
        def of(g: Graph) -> Tensor:
            w = g.weight("w", (n_out, 28672), quant_type("Q4_0"))
            return g.mul_mat(w, g.input("x", (n_tok, 28672), F32))

        return of

    for n_tok in (MAX_GRID_ROWS, MAX_GRID_ROWS + 1, 70000, 100000):
        for n_out in (512, 1024):
            for call in calls(build(n_tok, n_out), capability, fuse=True):
                grid = call.grid if isinstance(call.grid, tuple) else (call.grid,)
                assert max(grid[1:], default=1) <= MAX_GRID_ROWS, call
