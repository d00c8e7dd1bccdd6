"""The tiny models are the same files wherever they are written."""

from __future__ import annotations

from pathlib import Path

import pytest
from make_gguf import VARIANTS, write_model


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_is_written_twice_alike(name: str, tmp_path: Path) -> None:
    for copy in ("first", "second"):
        write_model(name, tmp_path / copy)
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


def test_variants_differ_from_each_other(tmp_path: Path) -> None:
    for name in VARIANTS:
        write_model(name, tmp_path / name)
    assert len({(tmp_path / name).read_bytes() for name in VARIANTS}) == len(VARIANTS)
