"""Tokens drawn on a GPU, each step feeding the next, are those drawn on the host."""

from __future__ import annotations

from pathlib import Path

import loop_contract
import pytest
from make_gguf import write_model
from random_chains import Kernels, compare

from gguf_run import Model
from gguf_run.cuda.device import Device

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("gpu")]


def test_random_chains_draw_the_hosts_tokens(gpu: Device) -> None:
    assert compare(Kernels(gpu), [384, 2049, 32000, 151936], 4000, seed=1) == 0


@pytest.mark.parametrize("arch", ["gemma3", "gpt-oss"])
def test_layers_with_windows_get_new_pages_and_lose_old_ones(arch: str, tmp_path: Path) -> None:
    loop_contract.check_windows("cuda", arch, tmp_path)


@pytest.mark.parametrize("arch", ["qwen35", "lfm2", "mamba", "falcon-h1"])
def test_a_step_too_many_is_taken_back_from_a_recurrent_state(arch: str, tmp_path: Path) -> None:
    write_model(arch, tmp_path / "model.gguf")
    with Model(tmp_path / "model.gguf", "cuda", n_ctx=80) as model:
        for n_taken in (1, 2, 6):
            loop_contract.check_taking_back(model, n_taken, n_before=0)
