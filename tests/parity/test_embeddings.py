"""Our embeddings equal those recorded from llama.cpp (recorded by record_embeddings.py)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from embedded import EMBEDDED, Embedded, write
from recorded import nmse, sha256

from gguf_run import Model
from gguf_run.embedding import POOLINGS

pytestmark = pytest.mark.parity

MAX_NMSE = 1e-6
"""llama.cpp looks its GELU up in a table of f16; without GELU it is 1e-12."""


@pytest.fixture(scope="module", params=EMBEDDED)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def recorded(name: str) -> Embedded:
    return Embedded.load(name)


@pytest.fixture(scope="module")
def model_file(name: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp(name) / f"{name}.gguf"
    write(name, path)
    return path


def test_the_file_is_the_one_that_was_recorded(model_file: Path, recorded: Embedded) -> None:
    assert sha256(model_file) == recorded.sha256


@pytest.mark.parametrize("pooling", POOLINGS)
def test_embeddings_are_llama_cpps(model_file: Path, recorded: Embedded, pooling: str) -> None:
    with Model(model_file, "cpu", n_ctx=recorded.n_ctx) as model:
        found = model.embed(recorded.texts, pooling, normalize=False)
    assert nmse(found, recorded.of(pooling)) <= MAX_NMSE


@pytest.mark.parametrize(("n_parallel", "n_batch"), [(1, 16), (4, 512)])
def test_embeddings_in_chunks_and_side_by_side_are_llama_cpps(
    model_file: Path, recorded: Embedded, n_parallel: int, n_batch: int
) -> None:
    with Model(
        model_file, "cpu", n_ctx=recorded.n_ctx, n_parallel=n_parallel, n_batch=n_batch
    ) as model:
        found = model.embed(recorded.texts, "mean")
    unit = recorded.mean / np.linalg.norm(recorded.mean, axis=1, keepdims=True)
    assert nmse(found, unit) <= MAX_NMSE
