"""Layers that see a window keep its keys alone, and compute what they would with all of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from make_gguf import write_model

from gguf_run import Model
from gguf_run.kv_cache import PAGE_SIZE, WINDOW_SLACK

N_CTX = 512
TOKENS = [1, *(3 + 7 * i % 380 for i in range(N_CTX - 1))]
SMALL = {"device": "cpu", "n_ctx": N_CTX, "n_batch": 32, "n_parallel": 2}
"""Few tokens a step, so that a window takes less room than the context."""


def open_model(variant: str, folder: Path) -> Model:
    path = folder / f"{variant}.gguf"
    write_model(variant, path)
    return Model(path, **SMALL)


def close(found: npt.NDArray[np.float32], expected: npt.NDArray[np.float32]) -> bool:
    return np.allclose(found, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("variant", ["gemma2", "gemma3", "gpt-oss", "cohere2", "olmo3"])
def test_a_window_in_few_pages_gives_the_same_logits(variant: str, tmp_path: Path) -> None:
    with open_model(variant, tmp_path) as model:
        caches = model.engine.backend.caches
        assert len({cache.shape[0] for cache in caches.values()}) == 2
        few = model.logits(TOKENS)
    with Model(tmp_path / f"{variant}.gguf", device="cpu", n_ctx=N_CTX, n_batch=N_CTX) as model:
        assert not model.engine.window_pool.n_page
        assert close(few, model.logits(TOKENS))


def test_a_model_without_windows_has_one_kind_of_pages(tmp_path: Path) -> None:
    with open_model("qwen3", tmp_path) as model:
        assert not model.engine.window_pool.n_page


def test_two_sequences_do_not_share_what_they_write(tmp_path: Path) -> None:
    with open_model("gemma3", tmp_path) as model:
        alone = model.logits(TOKENS[:300])
        first, second = model.engine.new_sequence(), model.engine.new_sequence()
        rows = []
        for start in range(0, 300, 10):
            work = [(second, TOKENS[-start - 7 :][:7]), (first, TOKENS[start : start + 10])]
            rows.append(model.engine.forward(work, every_row=True)[7:])
        assert close(np.concatenate(rows), alone)


def test_a_sequence_goes_back_a_little_but_not_far(tmp_path: Path) -> None:
    with open_model("gpt-oss", tmp_path) as model:
        expected = model.logits(TOKENS)
        seq = model.engine.new_sequence()
        model.engine.evaluate(seq, TOKENS[:500])
        seq.rollback(500 - WINDOW_SLACK + PAGE_SIZE)
        assert len(seq) == 500 - WINDOW_SLACK + PAGE_SIZE
        assert close(model.engine.evaluate(seq, TOKENS[len(seq) : 400])[-1], expected[399])
        seq.rollback(100)
        assert len(seq) == 0
        assert close(model.engine.evaluate(seq, TOKENS[:50])[-1], expected[49])


def test_a_fork_shares_the_window_if_it_is_still_there(tmp_path: Path) -> None:
    with open_model("gemma2", tmp_path) as model:
        expected = model.logits(TOKENS)
        seq = model.engine.new_sequence()
        model.engine.evaluate(seq, TOKENS[:450])
        late, early = seq.fork(450), seq.fork(64)
        assert (len(late), len(early)) == (448, 0)
        model.engine.evaluate(seq, TOKENS[:60])
        assert close(model.engine.evaluate(late, TOKENS[448:460])[-1], expected[459])
        for each in (seq, late, early):
            each.close()
        assert model.engine.window_pool.n_free == model.engine.window_pool.n_page
