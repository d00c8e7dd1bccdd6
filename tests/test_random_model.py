"""Shapes of known models with random weights: what a file of them would be."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np
import pytest

from gguf_run.errors import ModelError
from gguf_run.model import Model
from gguf_run.noise import HALF_SCALES, can_be_random, random_reader
from gguf_run.quants import QUANT_TYPES, QuantType, quant_type
from gguf_run.random_model import RandomModel, known_types, random_model
from gguf_run.shapes import SHAPES
from gguf_run.weights import WeightTable

BILLIONS = {
    "smollm2-135m": 0.1345,
    "smollm2-360m": 0.3618,
    "smollm2-1.7b": 1.711,
    "llama-1b": 1.236,
    "llama-3b": 3.213,
    "llama-7b": 6.738,
    "llama-8b": 8.030,
    "llama-70b": 70.55,
    "mistral-7b": 7.248,
    "mistral-nemo-12b": 12.25,
    "mistral-small-24b": 23.57,
    "mixtral-8x7b": 46.70,
    "qwen2.5-0.5b": 0.494,
    "qwen2.5-1.5b": 1.544,
    "qwen2.5-3b": 3.086,
    "qwen2.5-7b": 7.616,
    "qwen2.5-14b": 14.77,
    "qwen2.5-32b": 32.76,
    "qwen2.5-72b": 72.71,
    "qwen3-0.6b": 0.596,
    "qwen3-1.7b": 1.721,
    "qwen3-4b": 4.022,
    "qwen3-8b": 8.191,
    "qwen3-14b": 14.77,
    "qwen3-32b": 32.76,
    "qwen3-30b-a3b": 30.53,
    "qwen3-235b-a22b": 235.1,
    "gemma-3-1b": 1.000,
    "gemma-3-4b": 3.880,
    "gemma-3-12b": 11.77,
    "gemma-3-27b": 27.01,
    "phi-4": 14.66,
    "phi-4-mini": 3.836,
    "gpt-oss-20b": 20.91,
    "gpt-oss-120b": 116.8,
    "deepseek-v2-lite": 15.71,
    "glm-4.5-air": 106.9,
}
"""Parameters as the models' cards and llama-bench say; without vision and prediction layers."""

RANDOM_TYPES = [t for t in QUANT_TYPES.values() if can_be_random(t)]


@pytest.mark.parametrize("name", BILLIONS)
def test_a_shape_has_as_many_parameters_as_its_model(name: str) -> None:
    model = random_model(name, "Q4_0")
    n_params = sum(prod(t.shape) for t in model.tensors.values())
    assert n_params / 1e9 == pytest.approx(BILLIONS[name], rel=1e-3)


def test_every_shape_is_checked() -> None:
    assert set(SHAPES) - {"tiny"} == set(BILLIONS)


@pytest.mark.parametrize(
    ("name", "type_name", "expected"),
    [
        ("qwen3-0.6b", "Q4_0", 375_614_464),
        ("qwen3-4b", "Q4_0", 2_363_590_144),
        ("qwen3-30b-a3b", "Q4_0", 17_298_520_064),
    ],
)
def test_a_shape_takes_as_many_bytes_as_its_file(name: str, type_name: str, expected: int) -> None:
    model = random_model(name, type_name)
    assert sum(t.n_bytes for t in model.tensors.values()) == expected


def types_of(name: str, type_name: str) -> dict[str, str]:
    return {t.name: t.type.name for t in random_model(name, type_name).tensors.values()}


def test_types_are_those_that_the_quantizer_gives() -> None:
    plain = types_of("llama-8b", "Q4_0")
    assert plain["token_embd.weight"] == plain["blk.0.attn_v.weight"] == "Q4_0"
    assert plain["output.weight"] == "Q6_K"
    assert plain["blk.3.attn_norm.weight"] == plain["rope_freqs.weight"] == "F32"
    mixed = types_of("llama-8b", "Q4_K_M")
    better = {i for i in range(32) if mixed[f"blk.{i}.ffn_down.weight"] == "Q6_K"}
    assert better == {0, 1, 2, 3, 6, 9, 12, 15, 18, 21, 24, 27, 28, 29, 30, 31}
    assert {i for i in range(32) if mixed[f"blk.{i}.attn_v.weight"] == "Q6_K"} == better
    assert mixed["blk.0.ffn_up.weight"] == "Q4_K"
    assert types_of("qwen3-4b", "Q4_0")["token_embd.weight"] == "Q6_K"
    assert types_of("llama-8b", "Q8_0")["output.weight"] == "Q8_0"
    experts = types_of("gpt-oss-20b", "MXFP4_MOE")
    assert experts["blk.0.ffn_up_exps.weight"] == "MXFP4"
    assert experts["blk.0.attn_q.weight"] == experts["output.weight"] == "Q8_0"
    assert experts["blk.0.ffn_up_exps.bias"] == experts["blk.0.ffn_gate_inp.weight"] == "F32"


@pytest.mark.parametrize(
    ("n_layer", "better"),
    [
        (9, {0, 3, 6, 7, 8}),
        (11, {0, 3, 6, 9, 10}),
        (16, {0, 1, 4, 7, 10, 13, 14, 15}),
        (19, {0, 1, 4, 7, 10, 13, 16, 17, 18}),
    ],
)
def test_better_layers_are_those_of_llama_quantize(n_layer: int, better: set[int]) -> None:
    tiny = SHAPES["tiny"]
    shape = replace(tiny, metadata={**tiny.metadata, "block_count": n_layer})
    model = RandomModel("layers", shape, "Q4_K_M")
    types = [model.tensors[f"blk.{i}.ffn_down.weight"].type.name for i in range(n_layer)]
    assert {i for i, name in enumerate(types) if name == "Q6_K"} == better


def test_rows_that_fill_no_blocks_get_another_type() -> None:
    types = types_of("smollm2-135m", "Q4_K_M")
    assert types["blk.0.attn_q.weight"] == "Q5_0", "576 columns are no multiple of 256"
    assert types["token_embd.weight"] == "Q8_0"
    assert types["blk.0.ffn_down.weight"] == "Q6_K", "1536 are"
    assert types_of("gpt-oss-20b", "IQ3_S")["blk.0.attn_q.weight"] == "IQ4_NL"


@pytest.mark.parametrize("dtype", RANDOM_TYPES, ids=lambda t: t.name)
def test_random_weights_are_finite_and_small(dtype: QuantType) -> None:
    raw = np.empty(dtype.type_size * (1 << 20) // dtype.block_size, np.uint8)
    random_reader(dtype, False, 5)(0, raw.data)
    weights = dtype.decode(raw)
    assert np.isfinite(weights).all()
    assert 0.015 < weights.std() < 0.07
    assert abs(weights.mean()) < weights.std() / 2


def test_every_type_with_scales_is_a_type() -> None:
    assert set(HALF_SCALES) < set(known_types())


def test_parts_of_a_tensor_are_the_same_wherever_reading_begins() -> None:
    read = random_reader(quant_type("Q4_K"), False, 12345)
    whole, part = np.empty(9 << 20, np.uint8), np.empty(5 << 20, np.uint8)
    read(0, whole.data)
    read(3 << 20, part.data)
    assert np.array_equal(part, whole[3 << 20 : 8 << 20])


@pytest.mark.parametrize("device", ["cpu", "emulated"])
def test_a_model_of_random_weights_runs(device: str) -> None:
    with Model(random_model("tiny", "Q4_K_M"), device, n_ctx=64) as model:
        logits = model.logits([3, 1, 4, 1, 5])
        assert logits.shape == (5, 512)
        assert np.isfinite(logits).all()
        assert logits.std() > 0.01
        assert not model.unused_tensors


def test_the_same_weights_reach_every_device() -> None:
    logits = []
    for device in ("cpu", "emulated"):
        with Model(random_model("tiny", "F32"), device, n_ctx=64) as model:
            logits.append(model.logits([3, 1, 4]))
    assert np.allclose(*logits, atol=1e-3 * abs(logits[0]).max())


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_every_tensor_of_a_shape_is_used(name: str) -> None:
    model = random_model(name, "Q4_0")
    assert not WeightTable.from_gguf(model).source.endswith(".gguf")
    assert len(model.tensors) > 10


def test_an_unknown_shape_or_type_lists_the_known_ones() -> None:
    with pytest.raises(ModelError, match=r"shape 'gpt-5': expected one of tiny, .*qwen3-4b"):
        random_model("gpt-5", "Q4_0")
    with pytest.raises(ModelError, match=r"type 'Q9': expected one of F32, .*Q4_K_M"):
        random_model("qwen3-4b", "Q9")
