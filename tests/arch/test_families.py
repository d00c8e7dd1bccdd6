"""Every architecture that can be run has a tiny model, and files that don't fit say why."""

from __future__ import annotations

import encoders
from make_gguf import VARIANTS

from gguf_run.arch import ARCHITECTURES, ENCODERS


def test_every_architecture_has_a_tiny_model() -> None:
    assert {variant.arch for variant in encoders.ENCODERS.values()} >= ENCODERS
    writers = {variant.arch for variant in VARIANTS.values()}
    assert set(ARCHITECTURES) == writers | ENCODERS
