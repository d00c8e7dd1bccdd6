"""Whole models on a GPU."""

from __future__ import annotations

from pathlib import Path

import model_contract
import pytest

from gguf_run.cuda.device import Device
from gguf_run.errors import DeviceError

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("gpu")]

DEVICE = "cuda"


def test_greedy_tokens_of_a_trained_model_are_llama_cpps(shared: Path) -> None:
    model_contract.check_greedy_text(DEVICE, shared, n_tok=100)


def test_sampled_texts_of_a_trained_model_are_llama_cpps(shared: Path) -> None:
    model_contract.check_sampled_text(DEVICE, shared, n_tok=80)


def test_the_demo_model_draws_the_references_tokens() -> None:
    model_contract.check_demo_text(DEVICE, n_tok=80)


def test_the_demo_models_logits_are_the_references() -> None:
    model_contract.check_demo_logits(DEVICE, n_tok=80)


def test_logits_of_each_architecture_are_llama_cpps(shared: Path, tmp_path: Path) -> None:
    model_contract.check_architectures(DEVICE, shared, tmp_path)


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


def test_the_device_goes_on_after_running_out_of_memory(gpu: Device) -> None:
    with pytest.raises(DeviceError, match="out of device memory"):
        gpu.alloc(gpu.memory_total * 2)
    buffer = gpu.alloc(1 << 20)
    gpu.fill(buffer, 7)
    assert gpu.download(buffer, "uint8", (1 << 20,)).min() == 7
