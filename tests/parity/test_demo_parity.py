"""The demo model computes and writes what llama.cpp does with the same weights."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from recorded import DATA, DEMO_MODEL, Recorded, nmse, sha256

from gguf_run import Model

pytestmark = pytest.mark.parity

MAX_NMSE = 1e-6
RUNS = DATA / "demo.json"


def _runs(kind: str) -> list[Any]:
    runs = json.loads(RUNS.read_text(encoding="utf-8"))[kind] if RUNS.exists() else []
    return [
        pytest.param(run, id=f"{run['prompt']}-{run.get('options', {}).get('seed', 'greedy')}")
        for run in runs
    ]


@pytest.fixture(scope="module")
def recorded() -> Recorded:
    if not RUNS.exists():
        pytest.skip("nothing is recorded of the demo model yet")
    return Recorded.load("demo")


@pytest.fixture(scope="module")
def model(recorded: Recorded) -> Iterator[Model]:
    with Model(DEMO_MODEL, device="cpu", n_ctx=recorded.n_ctx) as model:
        yield model


def test_the_demo_model_is_the_one_that_was_recorded(recorded: Recorded) -> None:
    assert sha256(DEMO_MODEL) == recorded.sha256


def test_the_demo_models_logits_are_llama_cpps(model: Model, recorded: Recorded) -> None:
    logits = model.logits(recorded.tokens.tolist())
    assert nmse(logits[recorded.rows], recorded.logits) <= MAX_NMSE


@pytest.mark.parametrize("run", _runs("greedy"))
def test_greedy_text_is_llama_cpps(model: Model, run: dict[str, Any]) -> None:
    assert model.tokenize(run["prompt"]) == run["prompt_tokens"]
    chunks = list(model.generate(run["prompt"], len(run["tokens"]), temperature=0.0))
    assert [chunk.token for chunk in chunks] == run["tokens"]
    assert "".join(chunk.text for chunk in chunks) == run["text"]


@pytest.mark.parametrize("run", _runs("sampled"))
def test_sampled_text_is_llama_cpps(model: Model, run: dict[str, Any]) -> None:
    chunks = list(model.generate(run["prompt"], len(run["tokens"]), **run["options"]))
    assert [chunk.token for chunk in chunks] == run["tokens"]
    assert "".join(chunk.text for chunk in chunks) == run["text"]
