"""Every family's recorded model computes llama.cpp's logits, however its tokens are batched."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from gguf_run import Model

pytestmark = pytest.mark.parity

MAX_NMSE = 1e-6
ARCHS = (
    *("llama", "mixtral", "qwen2", "qwen3", "qwen2moe", "qwen3moe", "phi3", "gemma2", "gemma3"),
    *("glm4", "glm4moe", "gpt-oss", "deepseek2", "deepseek2-lite"),
)


def nmse(found: npt.NDArray[np.float32], expected: npt.NDArray[np.float32]) -> float:
    return float(((found.astype("f8") - expected) ** 2).sum() / (expected.astype("f8") ** 2).sum())


@pytest.fixture(scope="module")
def models(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archs")
    subprocess.run([sys.executable, shared / "archs" / "make.py", folder, "11"], check=True)
    return folder


@pytest.mark.parametrize("n_batch", [48, 7])
@pytest.mark.parametrize("arch", ARCHS)
def test_logits_in_one_piece_and_in_chunks_are_llama_cpps(
    shared: Path, models: Path, arch: str, n_batch: int
) -> None:
    recorded = np.load(shared / "archs" / f"{arch}.npz")
    with Model(models / f"{arch}.gguf", device="cpu", n_batch=n_batch) as model:
        assert nmse(model.logits(recorded["tokens"]), recorded["logits"]) <= MAX_NMSE
        assert model.unused_tensors == []


@pytest.mark.parametrize("arch", ARCHS)
def test_a_second_sequence_in_the_batch_changes_nothing(
    shared: Path, models: Path, arch: str
) -> None:
    recorded = np.load(shared / "archs" / f"{arch}.npz")
    tokens = recorded["tokens"].tolist()
    other = tokens[::-1]
    rows = []
    with Model(models / f"{arch}.gguf", device="cpu", n_parallel=2) as model:
        first, second = model.engine.new_sequence(), model.engine.new_sequence()
        for start in range(0, len(tokens), 5):
            stop = min(start + 5, len(tokens))
            # The other one gets fewer tokens a step, so that positions and pages drift apart.
            work = [(second, other[start : start + 3]), (first, tokens[start:stop])]
            rows.append(model.engine.forward(work, every_row=True)[len(work[0][1]) :])
    assert nmse(np.concatenate(rows), recorded["logits"]) <= MAX_NMSE
