"""What the decode loop must do on a device: tests of the emulator and of a GPU call the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from make_gguf import write_model

from gguf_run import Model
from gguf_run.kv_cache import Sequence

PROMPT = [1, 20, 30, 40]


def steps_by_host(model: Model, seq: Sequence, token: int, n_tok: int) -> list[tuple[int, float]]:
    """The likeliest tokens after `token` with their log probabilities, drawn on the host."""
    drawn = []
    for _ in range(n_tok):
        logits = model.engine.forward([(seq, [token])])[-1].astype(np.float64)
        token = int(logits.argmax())
        drawn.append((token, float(logits[token] - np.log(np.exp(logits).sum()))))
    return drawn


def assert_same(found: list[tuple[int, float]], expected: list[tuple[int, float]]) -> None:
    assert [token for token, _ in found] == [token for token, _ in expected]
    assert np.allclose([p for _, p in found], [p for _, p in expected], atol=1e-4)


def check_windows(device: str, arch: str, folder: Path) -> None:
    """Layers with windows get new pages and lose old ones while the device draws."""
    write_model(arch, folder / "model.gguf")
    prompt = [1, *(3 + 7 * i % 380 for i in range(325))]
    with Model(folder / "model.gguf", device, n_ctx=512, n_batch=64) as model:
        engine, drawn = model.engine, []
        for on_device in (True, False):
            seq = engine.new_sequence()
            engine.evaluate(seq, prompt)
            assert seq.window is not None
            first = seq.window.first
            if on_device:
                followers = engine.follow(seq, 5, 64)
                assert followers is not None
                drawn.append(list(followers))
            else:
                drawn.append(steps_by_host(model, seq, 5, 64))
            assert seq.window.first != first
            seq.close()
        assert engine.window_pool.n_free == engine.window_pool.n_page
    assert_same(*drawn)


def check_taking_back(model: Model, n_taken: int, n_before: int) -> None:
    """A recurrent state goes on from where the last token was given, and back to its prompt."""
    engine, drawn = model.engine, []
    for on_device in (True, False):
        seq = engine.new_sequence()
        token = int(engine.evaluate(seq, PROMPT)[-1].argmax())
        before = steps_by_host(model, seq, token, n_before)
        token = before[-1][0] if before else token
        if on_device:
            followers = engine.follow(seq, token, 20)
            assert followers is not None
            taken = [next(followers) for _ in range(n_taken)]
            followers.close()
        else:
            taken = steps_by_host(model, seq, token, n_taken)
        after = steps_by_host(model, seq, taken[-1][0], 3)
        seq.rollback(len(PROMPT))
        again = steps_by_host(model, seq, 7, 1) if len(seq) else []
        drawn.append([*before, *taken, *after, *again])
        seq.close()
    assert_same(*drawn)
    assert engine.states.n_free == engine.states.n_state
