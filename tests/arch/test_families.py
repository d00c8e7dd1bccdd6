"""Every architecture that can be run has a tiny model, and files that don't fit say why."""

from __future__ import annotations

import re
from pathlib import Path

import encoders
from make_gguf import VARIANTS

from gguf_run.arch import ENCODERS, every_architecture

ARCHITECTURES = every_architecture()


def test_every_architecture_has_a_tiny_model() -> None:
    assert {variant.arch for variant in encoders.ENCODERS.values()} >= ENCODERS
    writers = {variant.arch for variant in VARIANTS.values()}
    assert set(ARCHITECTURES) == writers | ENCODERS


def test_the_readme_names_every_architecture() -> None:
    text = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    listed = text.split("Architectures, by `general.architecture`:")[1].split("Embeddings alone:")[
        0
    ]
    names = re.sub(r"\([^)]*\)", "", listed).replace(".", "").replace(",", " ").split()
    assert set(names) == set(ARCHITECTURES) - ENCODERS
    assert f"| architectures | {len(ARCHITECTURES)} names" in text
