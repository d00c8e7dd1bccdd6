"""Whole models on the emulated device."""

from __future__ import annotations

import random
from pathlib import Path

import model_contract
import pytest
from make_gguf import write_model

from gguf_run import Model
from gguf_run.cuda.executable import CudaExecutable

DEVICE = "emulated"


def test_greedy_tokens_of_a_trained_model_are_llama_cpps(shared: Path) -> None:
    model_contract.check_greedy_text(DEVICE, shared, n_tok=20)


def test_sampled_texts_of_a_trained_model_are_llama_cpps(shared: Path) -> None:
    model_contract.check_sampled_text(DEVICE, shared, n_tok=20)


def test_the_demo_model_draws_the_references_tokens() -> None:
    model_contract.check_demo_text(DEVICE, n_tok=40)


def test_the_demo_models_logits_are_the_references() -> None:
    model_contract.check_demo_logits(DEVICE, n_tok=40)


def test_logits_of_each_architecture_are_llama_cpps(shared: Path, tmp_path: Path) -> None:
    model_contract.check_architectures(DEVICE, shared, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("n_batch", [48, 1])
def test_no_quantisation_is_further_off_than_llama_cpps(shared: Path, n_batch: int) -> None:
    model_contract.check_quantisations(DEVICE, shared, n_batch)


def test_graphs_and_fusion_change_no_result(tmp_path: Path) -> None:
    model_contract.check_modes_agree(DEVICE, tmp_path)


def test_tokens_that_fill_up_a_step_change_nothing(tmp_path: Path) -> None:
    model_contract.check_padded_prompts(DEVICE, tmp_path)


def test_every_cache_type_works(tmp_path: Path) -> None:
    model_contract.check_cache_types(DEVICE, tmp_path)


def test_embeddings_are_the_references() -> None:
    model_contract.check_embeddings(DEVICE)


def test_encoders_are_the_references(tmp_path: Path) -> None:
    model_contract.check_encoders(DEVICE, tmp_path)


def test_saved_states_go_on(tmp_path: Path) -> None:
    model_contract.check_saved_states(DEVICE, tmp_path)


def test_any_order_that_keeps_the_edges_gives_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_model("qwen3", tmp_path / "qwen3.gguf")
    tokens = [1, *range(300, 309)]

    def logits(fuse: bool) -> bytes:
        with Model(tmp_path / "qwen3.gguf", DEVICE, fuse=fuse) as model:
            return model.logits(tokens).tobytes()

    in_order = [logits(fuse) for fuse in (True, False)]
    rng = random.Random(1)

    def start(self: CudaExecutable) -> None:
        left = list(self.steps)
        while left:
            waiting = {bound.step.index for bound in left}
            ready = [bound for bound in left if not waiting.intersection(bound.step.edges)]
            chosen = rng.choice(ready)
            left.remove(chosen)
            self.launch(chosen)

    monkeypatch.setattr(CudaExecutable, "start", start)
    for _ in range(3):
        assert [logits(fuse) for fuse in (True, False)] == in_order
