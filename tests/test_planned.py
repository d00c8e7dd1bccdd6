"""`inspect --plan`: what would run on a device, with nothing loaded and no GPU."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from make_gguf import VARIANTS, write_model

from gguf_run.arch import BatchShape
from gguf_run.commands.inspect import inspect as command
from gguf_run.cuda.backend import CudaBackend
from gguf_run.cuda.planning import TYPICAL
from gguf_run.errors import DeviceError
from gguf_run.loader import open_gguf
from gguf_run.model import Model
from gguf_run.planned import Planned, Request, plan_model, summary
from gguf_run.random_model import random_model

CAPABILITIES = sorted(TYPICAL)


def planned(name: str, **options: Any) -> Planned:
    return plan_model(random_model(name, "Q4_0"), Request(**options))


@pytest.mark.parametrize("name", VARIANTS)
def test_every_architecture_has_kernels_for_its_steps(name: str, tmp_path: Path) -> None:
    write_model(name, tmp_path / "model.gguf")
    with open_gguf(tmp_path / "model.gguf") as file:
        for capability in (75, 90):
            for n_tok in (1, 6, 80):
                found = plan_model(file, Request(capability=capability, n_tok=n_tok))
                assert len(found.kernels) == len(found.plan.steps)


@pytest.mark.parametrize("n_tok", [1, 7])
def test_a_plan_is_what_the_device_runs(n_tok: int) -> None:
    file = random_model("tiny", "Q4_0")
    found = plan_model(file, Request("emulated", n_tok=n_tok, n_ctx=100, n_batch=16))
    with Model(file, "emulated", n_ctx=100, n_batch=16) as model:
        backend = model.engine.backend
        assert isinstance(backend, CudaBackend)
        plan = model.engine.plan(BatchShape(n_tok))
        launches = [len(bound.launches) for bound in backend.prepare(plan).steps]
    ops = [step.op for step in plan.steps]
    assert [step.op for step in found.plan.steps] == ops
    assert found.plan.arena_bytes == plan.arena_bytes
    assert list(found.kernels) == launches
    assert found.device == "emulated"


@pytest.mark.parametrize(
    ("name", "most", "capability"),
    [
        *(("smollm2-360m", 6, capability) for capability in CAPABILITIES),
        *(("qwen3-4b", 5, 90), ("llama-8b", 5, 90), ("qwen2.5-7b", 5, 90)),
        ("qwen3-30b-a3b", 9, 90),
    ],
)
def test_a_token_takes_few_kernels_a_layer(name: str, most: int, capability: int) -> None:
    layers = planned(name, capability=capability, n_ctx=4096).by_layer
    outside = layers.pop(None)
    assert len(layers) == random_model(name, "Q4_0").metadata[_blocks(name)]
    assert max(layers.values()) <= most
    assert outside <= 5


def _blocks(name: str) -> str:
    arch = random_model(name, "Q4_0").metadata["general.architecture"]
    return f"{arch}.block_count"


def test_every_kernel_belongs_to_a_layer_or_to_none() -> None:
    found = planned("gemma-3-1b", capability=90, n_ctx=4096)
    assert sum(found.by_layer.values()) == sum(found.kernels)
    assert set(found.by_layer) == {None, *range(26)}


def test_layers_with_a_window_have_pages_of_their_own() -> None:
    found = planned("gemma-3-4b", capability=90, n_ctx=32768)
    shapes = {t.name: t.shape[0] for t in found.plan.leaves if t.name.startswith("cache_k")}
    assert shapes["cache_k.5"] == 32768 // 64, "every sixth layer sees all"
    assert shapes["cache_k.0"] == (1024 + 256 + 2048) // 64 + 1
    assert "29 of cache_k (53, 4, 64, 256) F16" in summary(found)
    assert "5 of cache_k (512, 4, 64, 256) F16" in summary(found)


def test_a_plan_for_the_cpu_has_no_kernels() -> None:
    found = planned("tiny", device="cpu", n_ctx=64)
    assert found.kernels == ()
    assert "for cpu: 13 steps: 5 in each of 2 layers, 3 outside" in summary(found)
    assert all(t.dtype.name == "F32" for t in found.plan.leaves if t.name.startswith("cache"))


def test_unfused_plans_take_more() -> None:
    fused, unfused = (planned("tiny", capability=90, fuse=fuse, n_ctx=64) for fuse in (True, False))
    assert sum(unfused.kernels) > 2 * sum(fused.kernels)


def test_memory_of_a_long_context_does_not_grow_with_its_chunks_times_its_length() -> None:
    sizes = {
        (n_tok, n_ctx): planned(
            "llama-8b", capability=90, n_tok=n_tok, n_ctx=n_ctx
        ).plan.arena_bytes
        for n_tok in (512, 2048)
        for n_ctx in (8192, 131072)
    }
    for n_tok in (512, 2048):
        # Parts of the keys are read side by side where there are many: their number is bounded.
        assert sizes[n_tok, 131072] <= sizes[n_tok, 8192] * 1.5
    assert sizes[2048, 131072] < 1 << 30


def test_an_unknown_gpu_lists_the_known_ones() -> None:
    with pytest.raises(DeviceError, match="sm_42: expected one of sm_75, sm_80"):
        planned("tiny", capability=42)
    with pytest.raises(DeviceError, match="an architecture is a GPU's, and the device is cpu"):
        planned("tiny", device="cpu", capability=90)


def invoke(*args: str) -> Result:
    return CliRunner().invoke(command, args, catch_exceptions=False)


def test_the_command_shows_kernels_and_totals() -> None:
    lines = invoke(
        "--shape", "qwen3-4b", "--plan", "--arch", "sm_90", "-c", "4096"
    ).stdout.splitlines()
    assert "kernels" in lines[0].split()
    assert "for H200 (sm_90): 183 kernels: 5 in each of 36 layers, 3 outside" in lines
    assert any(line.startswith("bytes read: 2,368,") for line in lines)


def test_the_command_writes_plans_as_json() -> None:
    args = ("--shape", "tiny", "--plan", "--arch", "sm_80", "-c", "64", "--json")
    plan = json.loads(invoke(*args).stdout)["plan"]
    assert plan["device"] == "A100 (sm_80)"
    assert all(step["kernels"] >= 1 for step in plan["steps"])
    assert set(plan["memory"]) == {"weights", "caches", "activations"}


def test_the_command_refuses_what_is_no_architecture() -> None:
    result = invoke("--shape", "tiny", "--plan", "--arch", "hopper")
    assert result.exit_code == 2
    assert "expected a name such as sm_90, found hopper" in result.output
