"""Sampling defaults in a model file."""

from __future__ import annotations

import numpy as np
import pytest

from gguf_run.errors import ModelError
from gguf_run.sampling import SamplingParams, file_defaults


def test_the_keys_of_a_file_become_arguments() -> None:
    metadata = {
        "general.name": "a model",
        "general.sampling.sequence": "penalties;top-k;temperature",
        "general.sampling.top_k": 20,
        "general.sampling.top_p": np.float32(0.5),
        "general.sampling.temp": "0.6",
        "general.sampling.penalty_last_n": 32,
        "general.sampling.penalty_repeat": 1.25,
        "general.sampling.mirostat_tau": 4.0,
    }
    params = SamplingParams(**file_defaults(metadata))  # type: ignore[arg-type]
    assert params == SamplingParams(
        samplers=("penalties", "top_k", "temperature"),
        top_k=20,
        top_p=0.5,
        temperature=0.6,
        repeat_last_n=32,
        repeat_penalty=1.25,
        mirostat_tau=4.0,
    )


def test_numbers_are_read_however_they_are_stored() -> None:
    metadata = {
        "general.sampling.top_k": np.float32(20),
        "general.sampling.penalty_last_n": -1,
        "general.sampling.mirostat": "2",
    }
    assert file_defaults(metadata) == {"top_k": 20, "repeat_last_n": -1, "mirostat": 2}


def test_what_the_user_gives_is_not_read() -> None:
    metadata = {"general.sampling.top_k": "many", "general.sampling.temp": 0.5}
    assert file_defaults(metadata, {"top_k": 3}) == {"temperature": 0.5}


def test_a_file_without_them_gives_none() -> None:
    assert file_defaults({"general.name": "a model"}) == {}


@pytest.mark.parametrize(
    ("key", "value"),
    [("top_k", 1.5), ("top_p", 2.0), ("temp", "warm"), ("sequence", "top_k;best"), ("mirostat", 7)],
)
def test_a_bad_default_names_its_key(key: str, value: object) -> None:
    with pytest.raises(ModelError, match=rf"general\.sampling\.{key}: expected .* found {value!r}"):
        file_defaults({f"general.sampling.{key}": value})
