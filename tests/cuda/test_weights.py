"""Weights on the device: their layout, how they come there, and what products make of the graph."""

from __future__ import annotations

import sys
from pathlib import Path

import gguf
import make_grids
import numpy as np
import pytest
from case_data import Array, random_blocks, stored
from emulated import emulated

from gguf_run.cuda import weights
from gguf_run.cuda.activations import (
    MAX_FEW,
    MAX_PAIR,
    MIN_FEW,
    MIN_WGMMA,
    activations_as_products_take_them,
)
from gguf_run.cuda.layout import FLOAT_TYPES, LAYOUTS, layout_of
from gguf_run.cuda.weights import DeviceWeights, resident_bytes
from gguf_run.errors import DeviceError, GGUFError, ModelError
from gguf_run.graph import F16_PAIR, F16_SCALED, F16_TILES, F32, Q8_1, Q16_1, Graph, Tensor
from gguf_run.loader import GGUFFile, open_gguf
from gguf_run.quants import QUANT_TYPES, quant_type

INTEGERS = ("I8", "I16", "I32", "I64", "F64")


def write(path: Path, data: dict[Tensor, Array]) -> GGUFFile:
    writer = gguf.GGUFWriter(path, "llama")
    for t, array in data.items():
        writer.add_tensor(t.name, array, raw_dtype=gguf.GGMLQuantizationType(t.dtype.id))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return open_gguf(path)


def weight(name: str, dtype: str, *shape: int) -> tuple[Tensor, Array]:
    t = Graph().weight(name, shape, quant_type(dtype))
    return t, stored(np.random.default_rng(7), t, None)


def planes(rows: Array, dtype: str) -> Array:
    """Rows of blocks gathered into planes, by NumPy."""
    layout = LAYOUTS[dtype]
    n_row = len(rows)
    blocks = rows.reshape(n_row, -1, layout.type_size)
    result = []
    for plane in layout.planes:
        whole = np.zeros((n_row, plane.row_bytes(blocks.shape[1])), np.uint8)
        part = blocks[:, :, plane.start : plane.start + plane.size].reshape(n_row, -1)
        whole[:, : part.shape[1]] = part
        result.append(whole)
    return np.concatenate(result, axis=1)


def test_every_type_with_a_decoder_has_a_layout() -> None:
    decoded = {t.name for t in QUANT_TYPES.values() if t.decoder is not None}
    assert decoded - set(INTEGERS) == set(LAYOUTS) | set(FLOAT_TYPES)


@pytest.mark.parametrize("name", LAYOUTS)
def test_planes_hold_each_byte_of_a_block_once(name: str) -> None:
    layout, dtype = LAYOUTS[name], quant_type(name)
    assert (layout.block_size, layout.type_size) == (dtype.block_size, dtype.type_size)
    held = [i for p in layout.planes for i in range(p.start, p.start + p.size)]
    assert sorted(held) == list(range(dtype.type_size))


def test_the_codebooks_are_those_of_the_gguf_package() -> None:
    assert make_grids.TARGET.read_text() == make_grids.text()


@pytest.mark.parametrize(("dtype", "n_in"), [("Q4_0", 32), ("Q4_0", 4192), ("Q3_K", 768)])
@pytest.mark.parametrize("staging", [1, 5000])
def test_rows_arrive_in_planes_through_a_staging_buffer_of_any_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str, n_in: int, staging: int
) -> None:
    monkeypatch.setattr(weights, "STAGING_BYTES", staging)
    leaf, data = weight("w", dtype, 11, n_in)
    device = emulated()
    with write(tmp_path / "w.gguf", {leaf: data}) as file:
        buffer = DeviceWeights(file, device).buffer(leaf)
    assert buffer.n_bytes == resident_bytes(leaf)
    found = device.download(buffer, np.uint8, (11, buffer.n_bytes // 11))
    assert np.array_equal(found, planes(data, dtype))


@pytest.mark.parametrize("dtype", ["Q4_K", "Q5_K", "F16"])
def test_types_that_are_aligned_as_they_are_stay_so(tmp_path: Path, dtype: str) -> None:
    leaf, data = weight("w", dtype, 3, 512)
    device = emulated()
    with write(tmp_path / "w.gguf", {leaf: data}) as file:
        buffer = DeviceWeights(file, device).buffer(leaf)
    assert device.download(buffer, np.uint8, (leaf.n_bytes,)).tobytes() == data.tobytes()


def test_vectors_are_f32_whatever_the_file_says(tmp_path: Path) -> None:
    leaf, data = weight("norm", "F16", 77)
    device = emulated()
    with write(tmp_path / "w.gguf", {leaf: data}) as file:
        buffer = DeviceWeights(file, device).buffer(leaf)
    found = device.download(buffer, np.float32, (77,))
    assert np.array_equal(found, data.view(np.float16).astype(np.float32))


def test_a_weight_with_two_uses_is_loaded_once_and_counted_once(tmp_path: Path) -> None:
    leaf, data = weight("token_embd.weight", "Q8_0", 6, 64)
    again, _ = weight("token_embd.weight", "Q8_0", 6, 64)
    device = emulated()
    with write(tmp_path / "w.gguf", {leaf: data}) as file:
        loaded = DeviceWeights(file, device)
        assert loaded.n_bytes([leaf, again]) == resident_bytes(leaf) + weights.STAGING_BYTES
        seen: list[tuple[str, int, int]] = []
        loaded.load([leaf, again], lambda *state: seen.append(state))
        assert loaded.buffer(leaf) is loaded.buffer(again)
        assert loaded.n_bytes([leaf, again]) == 0
    assert seen[-1] == ("weights", leaf.n_bytes, leaf.n_bytes)


def test_weights_have_their_memory_while_they_load_and_lose_it_where_loading_ends_early(
    tmp_path: Path,
) -> None:
    leaf, data = weight("w", "F32", 100, 64)
    device = emulated()
    free = device.memory_free
    with write(tmp_path / "w.gguf", {leaf: data}) as file:
        loaded = DeviceWeights(file, device)

        def give_up() -> None:
            with loaded.loading([leaf]):
                assert loaded.buffer(leaf).n_bytes == leaf.n_bytes
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            give_up()
        assert device.memory_free == free
        with loaded.loading([leaf]):
            buffer = loaded.buffer(leaf)
        assert np.array_equal(device.download(buffer, np.float32, data.shape), data)


def test_loadings_side_by_side_leave_threads_as_they_were() -> None:
    before = sys.getswitchinterval()
    one, other = weights._frequent_switches(), weights._frequent_switches()
    with one:
        assert sys.getswitchinterval() < before
        other.__enter__()
    other.__exit__(None, None, None)
    assert sys.getswitchinterval() == before


def test_a_file_that_has_become_shorter_is_an_error_of_the_loading(tmp_path: Path) -> None:
    leaf, data = weight("w", "F32", 100, 64)
    device = emulated()
    with write(tmp_path / "w.gguf", {leaf: data}) as file:
        with (tmp_path / "w.gguf").open("r+b") as shorter:
            shorter.truncate(1000)
        with pytest.raises(GGUFError, match="has become shorter"):
            DeviceWeights(file, device).load([leaf])


def test_too_little_memory_is_an_error_and_frees_what_it_took(tmp_path: Path) -> None:
    leaf, data = weight("w", "F32", 100, 64)
    device = emulated(memory=20_000)
    with (
        write(tmp_path / "w.gguf", {leaf: data}) as file,
        pytest.raises(DeviceError, match="25600 bytes asked for"),
    ):
        DeviceWeights(file, device).load([leaf])
    assert device.memory_free == 20_000


def test_a_type_without_kernels_names_those_that_have_some(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="Q1_0: expected one that the GPU kernels unpack"):
        layout_of(quant_type("Q1_0"))


# Activations


def product_of(g: Graph, dtype: str, x: Tensor, n_out: int = 8) -> Tensor:
    return g.mul_mat(g.weight(f"w{len(g.tensors)}", (n_out, x.shape[1]), quant_type(dtype)), x)


def test_products_of_one_x_share_a_cast_that_stands_before_the_first() -> None:
    g = Graph()
    x = g.scale(g.input("x", (2, 64), F32), 2.0)
    a, b = product_of(g, "Q4_0", x), product_of(g, "Q5_1", x)
    g.output(g.add(a, b))
    result = activations_as_products_take_them(g, 80)
    assert [t.op for t in result.tensors] == ["scale", "cast", "mul_mat", "mul_mat", "add"]
    _, cast, first, second, total = result.tensors
    assert cast.dtype is Q8_1
    assert first.srcs[1] is cast
    assert second.srcs[1] is cast
    assert total.srcs == (first, second)
    assert result.outputs == [total]
    assert [t.op for t in g.tensors] == ["scale", "mul_mat", "mul_mat", "add"]


@pytest.mark.parametrize(
    ("dtype", "n_tok", "n_in", "form"),
    [
        ("Q4_0", 1, 64, Q8_1),
        ("IQ4_XS", MIN_FEW - 1, 256, Q8_1),
        ("IQ4_XS", MIN_FEW, 256, F16_SCALED),
        ("Q8_0", MIN_FEW - 1, 64, Q16_1),
        ("Q8_0", MAX_FEW, 64, F16_SCALED),
        ("MXFP4", MAX_FEW, 64, Q8_1),
        ("Q4_0", MAX_FEW + 1, 64, F16_SCALED),
        ("F16", MIN_FEW - 1, 64, None),
        ("F16", MAX_FEW, 64, F16_PAIR),
        ("BF16", MAX_FEW + 1, 64, F16_PAIR),
        ("F16", MAX_PAIR, 64, F16_PAIR),
        ("F16", MAX_PAIR + 1, 64, F16_SCALED),
        ("F16", MAX_FEW + 1, 33, None),
        ("F32", MAX_FEW + 1, 64, None),
    ],
)
def test_the_form_follows_type_and_tokens(dtype: str, n_tok: int, n_in: int, form: object) -> None:
    g = Graph()
    g.output(product_of(g, dtype, g.input("x", (n_tok, n_in), F32)))
    result = activations_as_products_take_them(g, 80)
    casts = [t.dtype for t in result.tensors if t.op == "cast"]
    assert casts == ([] if form is None else [form])
    assert (result is g) == (form is None)


@pytest.mark.parametrize(
    ("capability", "dtype", "n_tok", "n_in", "form"),
    [
        (90, "Q4_0", MIN_WGMMA, 128, F16_TILES),
        (90, "BF16", MIN_WGMMA, 128, F16_TILES),
        (90, "Q4_0", MIN_WGMMA - 1, 128, F16_SCALED),
        (90, "Q4_0", MIN_WGMMA, 192, F16_SCALED),
        (90, "MXFP4", MIN_WGMMA, 128, F16_SCALED),
        (100, "Q4_0", MIN_WGMMA, 128, F16_SCALED),
    ],
)
def test_many_tokens_come_in_tiles_where_there_is_wgmma(
    capability: int, dtype: str, n_tok: int, n_in: int, form: object
) -> None:
    g = Graph()
    g.output(product_of(g, dtype, g.input("x", (n_tok, n_in), F32)))
    result = activations_as_products_take_them(g, capability)
    assert [t.dtype for t in result.tensors if t.op == "cast"] == [form]


def test_views_and_caches_behind_a_product_follow_it() -> None:
    g = Graph()
    y = product_of(g, "Q4_0", g.input("x", (2, 64), F32), 64)
    heads = g.reshape(g.view(y, 32, 64), 2, 1, 32)
    written = g.set_rows(
        g.cache("k", (1, 1, 256, 32), quant_type("F16")), heads, g.input("slots", (2,))
    )
    g.output(written)
    result = activations_as_products_take_them(g, 80)
    product = next(t for t in result.tensors if t.op == "mul_mat")
    rows = result.outputs[0].srcs[1]
    assert rows.base is product
    assert (rows.offset, rows.strides) == (heads.offset, heads.strides)
    assert result.outputs[0].base is written.base


def test_a_cast_graph_is_left_alone() -> None:
    g = Graph()
    g.output(product_of(g, "Q4_0", g.cast(g.input("x", (2, 64), F32), Q8_1)))
    assert activations_as_products_take_them(g, 80) is g


@pytest.mark.parametrize("name", ["Q6_K", "IQ1_M"])
def test_random_blocks_survive_the_way_through_planes(tmp_path: Path, name: str) -> None:
    t = Graph().weight("w", (4, 512), quant_type(name))
    data = random_blocks(np.random.default_rng(1), t)
    device = emulated()
    with write(tmp_path / "w.gguf", {t: data}) as file:
        buffer = DeviceWeights(file, device).buffer(t)
    found = device.download(buffer, np.uint8, (4, buffer.n_bytes // 4))
    assert np.array_equal(found, planes(data, name))
