"""Our logits and tokens equal those recorded from llama.cpp (recorded by record.py)."""

from __future__ import annotations

from pathlib import Path

import pytest
from make_gguf import VARIANTS, write_model
from recorded import Recorded, nmse, sha256

from gguf_run import Model

pytestmark = pytest.mark.parity

MAX_NMSE = 1e-6
WHOLE = 64
"""Tokens a recorded text has at most: a batch of so many takes it in one piece."""


@pytest.fixture(scope="session", params=VARIANTS)
def variant(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def recorded(variant: str) -> Recorded:
    return Recorded.load(variant)


@pytest.fixture(scope="session")
def model_file(variant: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp(variant) / f"{variant}.gguf"
    write_model(variant, path)
    return path


def test_the_file_is_the_one_that_was_recorded(model_file: Path, recorded: Recorded) -> None:
    assert sha256(model_file) == recorded.sha256


@pytest.mark.parametrize("n_batch", [WHOLE, 7, 1])
def test_logits_in_chunks_are_llama_cpps(
    model_file: Path, recorded: Recorded, n_batch: int
) -> None:
    with Model(model_file, device="cpu", n_ctx=recorded.n_ctx, n_batch=n_batch) as model:
        logits = model.logits(recorded.tokens.tolist())
    assert logits.shape == (len(recorded.tokens), recorded.logits.shape[1])
    assert nmse(logits[recorded.rows], recorded.logits) <= MAX_NMSE


def test_greedy_tokens_are_llama_cpps(model_file: Path, recorded: Recorded) -> None:
    with Model(model_file, device="cpu", n_ctx=recorded.n_ctx) as model:
        chunks = model.generate(
            recorded.prompt.tolist(), max_tokens=len(recorded.greedy), temperature=0.0
        )
        assert [chunk.token for chunk in chunks] == recorded.greedy.tolist()
