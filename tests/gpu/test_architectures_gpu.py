"""Every architecture on a GPU, beside the reference."""

from __future__ import annotations

from pathlib import Path

import pytest
from model_contract import TINY_MODELS, check_tiny_model

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("gpu")]


@pytest.mark.parametrize("name", TINY_MODELS)
def test_logits_are_the_references(name: str, tmp_path: Path) -> None:
    check_tiny_model("cuda", name, tmp_path)
