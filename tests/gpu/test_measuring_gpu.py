"""What is measured on a GPU is possible, and adds up."""

from __future__ import annotations

import pytest

from gguf_run.bench import Workload, bench
from gguf_run.cuda.device import Device
from gguf_run.cuda.peaks import measure_peaks
from gguf_run.model import Model
from gguf_run.profile import profile
from gguf_run.random_model import random_model

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("gpu")]


def test_peaks_are_those_of_a_gpu(gpu: Device) -> None:
    peaks, again = measure_peaks(gpu), measure_peaks(gpu)
    assert 5e10 < peaks.read < 2e13
    assert 5e12 < peaks.flops < 1e16
    assert again.read == pytest.approx(peaks.read, rel=0.1)
    assert again.flops == pytest.approx(peaks.flops, rel=0.1)


def test_no_test_is_faster_than_the_memory() -> None:
    with Model(random_model("qwen3-0.6b", "Q4_0"), "cuda", n_ctx=640) as model:
        prompt, generation = bench(model, [Workload(n_prompt=512), Workload(n_gen=64)], 2)
    assert prompt.flops_share is not None
    assert generation.read_share is not None
    assert 0.005 < generation.read_share < 1
    assert prompt.flops_share > 0.005


@pytest.mark.parametrize("n_prompt", [0, 512])
def test_steps_alone_take_about_as_long_as_together(n_prompt: int) -> None:
    with Model(random_model("qwen3-0.6b", "Q4_0"), "cuda", n_ctx=640) as model:
        found = profile(model, n_prompt, 128)
    alone = sum(step.seconds for step in found.steps)
    assert 0.5 < alone / found.whole < 4
    assert all(step.seconds < found.whole for step in found.steps)
