"""What may come next is found while a device works."""

from __future__ import annotations

import shutil

import pytest
from grammars import DEMO_MODEL

from gguf_run import Model

REGEX = "[a-z ]{5,9}[.]"


@pytest.mark.skipif(shutil.which("g++") is None, reason="the emulator needs g++")
def test_a_device_is_not_waited_for_to_find_what_may_come() -> None:
    with Model(DEMO_MODEL, device="emulated", n_ctx=64) as model:
        calls: list[int] = []
        seq = model.engine.new_sequence()
        model.engine.forward([(seq, [1, 2, 3])], meanwhile=lambda: calls.append(len(seq)))
        seq.close()
        text = "".join(c.text for c in model.generate("Once", 20, regex=REGEX, seed=1))
    assert calls == [3]
    with Model(DEMO_MODEL, device="cpu", n_ctx=64) as model:
        assert text == "".join(c.text for c in model.generate("Once", 20, regex=REGEX, seed=1))


def test_without_a_device_only_what_is_needed_is_found() -> None:
    with Model(DEMO_MODEL, device="cpu", n_ctx=64) as model:
        calls: list[int] = []
        seq = model.engine.new_sequence()
        model.engine.forward([(seq, [1, 2, 3])], meanwhile=lambda: calls.append(1))
    assert not calls
