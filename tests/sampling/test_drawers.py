"""A drawer's parameters: the file's, the user's over them, and what is never drawn."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from gguf_run.drawers import Drawers
from gguf_run.errors import ModelError
from gguf_run.tokenizer import Tokenizer

TOKENIZER = cast(
    Tokenizer, SimpleNamespace(vocab=SimpleNamespace(suppressed=[1]), eog_ids=frozenset({2}))
)


def drawers(**defaults: object) -> Drawers:
    metadata = {f"general.sampling.{key}": value for key, value in defaults.items()}
    return Drawers(metadata, lambda: TOKENIZER, 4)  # type: ignore[arg-type]


def test_what_is_never_drawn_stays_so_whatever_its_bias() -> None:
    drawer = drawers().make(ignore_eos=True, logit_bias={0: 1.5, 1: 9.0, 2: 9.0})
    assert drawer.chain.params.logit_bias == {0: 1.5, 1: -np.inf, 2: -np.inf}
    drawer = drawers().make(logit_bias={1: 9.0, 2: 9.0})
    assert drawer.chain.params.logit_bias == {1: -np.inf, 2: 9.0}


def test_a_default_of_the_file_holds_unless_the_user_sets_it() -> None:
    assert drawers(top_k=7).make().chain.params.top_k == 7
    assert drawers(top_k=7).make(top_k=3).chain.params.top_k == 3
    assert drawers(top_k="many").make(top_k=3).chain.params.top_k == 3
    with pytest.raises(ModelError, match=r"general\.sampling\.top_k"):
        drawers(top_k="many").make()
