"""Every architecture with the kernels of a GPU, beside the reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cases import nmse
from make_gguf import VARIANTS, write_model
from model_contract import LOGITS_NMSE

from gguf_run import Model

NAMES = {variant.arch: name for name, variant in reversed(VARIANTS.items())}
"""The first tiny model of each architecture."""


@pytest.mark.parametrize("name", NAMES.values())
def test_logits_are_the_references(name: str, tmp_path: Path) -> None:
    """Of a few tokens, of a prompt's last one, and of one behind it."""
    write_model(name, tmp_path / "model.gguf")
    found = []
    for device in ("cpu", "emulated"):
        caches = {"cache_type_k": "F16", "cache_type_v": "F16"}
        with Model(tmp_path / "model.gguf", device, n_ctx=128, **caches) as model:
            few = model.logits([1, 2, 3, 4, 5])
            seq = model.engine.new_sequence()
            last = [model.engine.evaluate(seq, ids) for ids in ([1, *range(100, 170)], [7])]
            found.append(np.concatenate([few, *last]))
    for expected, logits in zip(*found, strict=True):
        assert nmse(logits, expected) <= LOGITS_NMSE
