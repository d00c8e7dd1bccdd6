"""Which attention kernel runs where, and what the kernels make of padding."""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest
from device_contract import put
from emulated import emulated

from gguf_run.cuda.device import Device
from gguf_run.cuda.ops.flash_attn import choose
from gguf_run.cuda.ops.flash_attn_mma import INSTANCES
from gguf_run.cuda.ops.rope import rope_struct
from gguf_run.cuda.ops.set_rows import MODULES, cache_struct
from gguf_run.cuda.planning import Gpu, plan_graph
from gguf_run.errors import DeviceError
from gguf_run.graph import F32, AttentionParams, Graph, RopeMode, RopeParams, Tensor
from gguf_run.kv_cache import PAGE_SIZE, pages_for
from gguf_run.quants import quant_type


def attention(
    n_tok: int = 1,
    n_seq: int = 1,
    n_ctx: int = 8192,
    heads: tuple[int, int] = (32, 8),
    size: int = 128,
    dtype: str = "F16",
    max_bias: float = 0.0,
) -> Tensor:
    g = Graph()
    shape = (8, heads[1], PAGE_SIZE, size)
    k, v = (g.cache(name, shape, quant_type(dtype)) for name in "kv")
    q = g.input("q", (n_tok, heads[0], size), F32)
    inputs = [g.input(name, (n_tok,)) for name in ("positions", "seq_ids")]
    table = g.input("block_table", (n_seq, pages_for(n_ctx)))
    return g.flash_attn_ext(q, k, v, *inputs, table, AttentionParams(1.0, max_bias=max_bias))


def n_block(device: Device, t: Tensor) -> int:
    c = choose(device, t)
    return c.n_tile * t.srcs[1].shape[1] * c.n_split


@pytest.fixture(scope="module")
def h200() -> Device:
    return emulated(n_sm=132)


@pytest.mark.parametrize("dtype", ["F16", "Q8_0", "Q4_0", "F32"])
@pytest.mark.parametrize("heads", [(32, 8), (16, 8), (9, 3), (128, 1), (32, 32)])
def test_one_token_keeps_every_multiprocessor_busy(
    h200: Device, heads: tuple[int, int], dtype: str
) -> None:
    assert n_block(h200, attention(heads=heads, dtype=dtype)) >= 132


@pytest.mark.parametrize("n_tok", [16, 64, 200, 512])
def test_prompt_chunks_keep_every_multiprocessor_busy(h200: Device, n_tok: int) -> None:
    assert n_block(h200, attention(n_tok)) >= 132


def test_long_prompts_are_not_split(h200: Device) -> None:
    assert choose(h200, attention(2048)).n_split == 1


def test_parts_have_at_least_a_page(h200: Device) -> None:
    assert choose(h200, attention(n_ctx=3 * PAGE_SIZE)).n_split == 3


def test_tokens_of_different_sequences_share_no_tile(h200: Device) -> None:
    assert choose(h200, attention(7, 7)).rows == 4
    assert choose(h200, attention(7, 7, heads=(40, 2))).rows == 20
    assert choose(h200, attention(7, 3)).rows == 64


@pytest.mark.parametrize("capability", [75, 86, 90])
@pytest.mark.parametrize("dtype", ["F16", "Q8_0", "Q4_0"])
@pytest.mark.parametrize("size", [64, 96, 128, 256])
@pytest.mark.parametrize("n_tok", [1, 500])
def test_usual_heads_run_on_tensor_cores_everywhere(
    capability: int, dtype: str, size: int, n_tok: int
) -> None:
    if (capability, dtype, size) == (75, "Q8_0", 256):
        pytest.skip("a tile of K and V, as it is and decoded, and the query pass 64 KB")
    device = emulated(capability=capability)
    fit = choose(device, attention(n_tok, size=size, dtype=dtype)).fit
    assert fit is not None
    assert fit.shared < device.max_shared


def test_f32_caches_and_unusual_heads_run_in_f32(h200: Device) -> None:
    assert choose(h200, attention(dtype="F32")).fit is None
    assert choose(h200, attention(size=40)).fit is None


@pytest.fixture(scope="module")
def hopper() -> Device:
    return cast(Device, Gpu.typical(90))


@pytest.mark.parametrize("size", [64, 96, 128, 256])
def test_prompts_on_hopper_have_a_kernel_of_their_own(hopper: Device, size: int) -> None:
    for n_tok in (32, 500, 4000):
        wide = choose(hopper, attention(n_tok, size=size)).wide
        assert wide is not None
        assert wide.d_k == size


@pytest.mark.parametrize(
    "t",
    [
        attention(1),
        attention(200, 200),
        attention(31),
        attention(500, dtype="Q8_0"),
        attention(500, size=80),
        attention(500, max_bias=8.0),
    ],
    ids=["one token", "a token of each", "few", "Q8_0", "80", "slopes"],
)
def test_the_rest_runs_there_as_elsewhere(hopper: Device, t: Tensor) -> None:
    choice = choose(hopper, t)
    assert choice.wide is None
    assert choice.fit is not None


@pytest.mark.parametrize("capability", [89, 100, 120])
def test_other_gpus_lack_that_kernel(capability: int) -> None:
    assert choose(cast(Device, Gpu.typical(capability)), attention(500)).wide is None


def test_every_instance_is_one_that_some_device_can_run(h200: Device) -> None:
    for instance in INSTANCES:
        raw = (instance.shape.d_k + instance.shape.d_v) // 32 * 34 if instance.decode else 0
        assert instance.shape.shared(1, raw) < h200.max_shared, instance.kernel


@pytest.mark.parametrize("kernel", ["set_rows", "rope_set_rows"])
def test_padding_is_not_appended(device: Device, kernel: str) -> None:
    rows = put(device, np.ones((3, 1, 32), np.float32))
    slots = put(device, np.array([2, -1, 5], np.int32))
    positions = put(device, np.zeros(3, np.int32))
    cache = put(device, np.zeros((PAGE_SIZE, 32), np.float16))
    rope = rope_struct(RopeParams(RopeMode.NORM, 32, 1e4))
    before = [rows, slots] if kernel == "set_rows" else [rows, positions, None, slots]
    middle = [cache] if kernel == "set_rows" else [cache, rope]
    arguments = [*before, *middle, 1, 32, 1, PAGE_SIZE, 32, 32]
    run = device.module(MODULES["F16"])[f"{kernel}<CacheF16>"]
    device.launch(run, 3, 128, arguments, shared=16 * 8)
    written = device.download(cache, np.float16, (PAGE_SIZE, 32)).any(axis=1)
    assert np.flatnonzero(written).tolist() == [2, 5]


def test_tokens_are_appended_ahead_of_attention_where_their_places_are_inputs() -> None:
    """Positions and slots are read before the kernel ahead, which might compute them, has ended."""

    def ops(computed: str) -> list[str]:
        g = Graph()
        of = {name: g.input(name, (5,)) for name in ("positions", "slots", "seq_ids")}
        if computed:
            of[computed] = g.argmax(g.input("scores", (5, 64), F32))
        q, k, v = (g.input(name, (5, n, 64), F32) for name, n in zip("qkv", (4, 2, 2), strict=True))
        rope = RopeParams(RopeMode.NEOX, 64, 1e4)
        q, k = g.rope(q, of["positions"], rope), g.rope(k, of["positions"], rope)
        caches = [g.cache(f"{x}s", (1, 2, PAGE_SIZE, 64), quant_type("F16")) for x in "kv"]
        keys, values = (
            g.set_rows(cache, rows, of["slots"]) for cache, rows in zip(caches, (k, v), strict=True)
        )
        sources = (of["positions"], of["seq_ids"], g.input("block_table", (1, 1)))
        g.output(g.flash_attn_ext(q, keys, values, *sources, AttentionParams(0.125)))
        return [step.op for step in plan_graph(g, Gpu.typical(90)).steps]

    assert ops("") == ["flash_attn_append"]
    assert "flash_attn_append" not in ops("positions")
    assert "flash_attn_append" not in ops("slots")


def test_a_cache_of_another_type_is_refused() -> None:
    with pytest.raises(DeviceError, match="F32, F16, Q8_0, Q4_0, found cache: Q5_0"):
        cache_struct(Graph().cache("cache", (1, 1, PAGE_SIZE, 32), quant_type("Q5_0")))
