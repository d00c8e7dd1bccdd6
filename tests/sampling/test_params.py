"""Defaults as llama.cpp has them, and refusals that name the parameter."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gguf_run.errors import ModelError
from gguf_run.sampling import DEFAULT_SAMPLERS, SamplingParams


def test_defaults_are_llama_cpps() -> None:
    params = SamplingParams()
    assert (params.temperature, params.top_k, params.top_p, params.min_p) == (0.8, 40, 0.95, 0.05)
    assert (params.typical_p, params.top_n_sigma, params.min_keep) == (1.0, -1.0, 0)
    assert (params.repeat_penalty, params.repeat_last_n) == (1.0, 64)
    assert (params.frequency_penalty, params.presence_penalty) == (0.0, 0.0)
    assert (params.dry_multiplier, params.dry_base) == (0.0, 1.75)
    assert (params.dry_allowed_length, params.dry_penalty_last_n) == (2, 64)
    assert params.dry_sequence_breakers == ("\n", ":", '"', "*")
    assert (params.xtc_probability, params.xtc_threshold) == (0.0, 0.1)
    assert (params.dynatemp_range, params.dynatemp_exponent) == (0.0, 1.0)
    assert (params.mirostat, params.mirostat_tau, params.mirostat_eta) == (0, 5.0, 0.1)
    assert (params.adaptive_target, params.adaptive_decay) == (-1.0, 0.9)
    assert params.samplers == DEFAULT_SAMPLERS
    assert params.seed is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", math.nan),
        ("temperature", math.inf),
        ("temperature", "hot"),
        ("top_k", 1.5),
        ("top_p", -0.1),
        ("top_p", 1.1),
        ("min_p", 2),
        ("typical_p", math.nan),
        ("top_n_sigma", math.inf),
        ("min_keep", -1),
        ("repeat_penalty", 0.0),
        ("repeat_penalty", -1.0),
        ("repeat_penalty", math.inf),
        ("repeat_penalty", 1e-300),
        ("repeat_last_n", -2),
        ("frequency_penalty", math.nan),
        ("presence_penalty", math.inf),
        ("dry_multiplier", -1.0),
        ("dry_allowed_length", -1),
        ("dry_penalty_last_n", -2),
        ("xtc_probability", 1.5),
        ("xtc_threshold", -0.5),
        ("dynatemp_range", -1.0),
        ("mirostat", 3),
        ("mirostat_tau", -1.0),
        ("adaptive_target", 1.5),
        ("adaptive_decay", 1.0),
        ("seed", 2**32),
        ("seed", -2),
        ("seed", 0.5),
        ("samplers", ["top_k", "best_k"]),
        ("logit_bias", {3: math.nan}),
        ("logit_bias", {3: math.inf}),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(ModelError, match=rf"{name}.*expected .*found"):
        SamplingParams(**{name: value})  # type: ignore[arg-type]


def test_the_message_says_what_was_expected_and_found() -> None:
    with pytest.raises(ModelError) as caught:
        SamplingParams(top_p=1.5)
    assert str(caught.value) == "sampling parameter top_p: expected a number, 0 to 1, found 1.5"


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("top-k", "top_k"),
        ("topk", "top_k"),
        ("TOP_P", "top_p"),
        ("nucleus", "top_p"),
        ("temp", "temperature"),
        ("typ", "typ_p"),
        ("typ-p", "typ_p"),
        ("top-n-sigma", "top_n_sigma"),
        ("adaptive-p", "adaptive_p"),
    ],
)
def test_samplers_go_by_llama_cpps_other_names_too(given: str, name: str) -> None:
    assert SamplingParams(samplers=[given]).samplers == (name,)


def test_numpy_scalars_are_numbers() -> None:
    assert SamplingParams(top_k=np.int32(5), top_p=np.float32(0.5)).top_k == 5  # type: ignore[arg-type]


def test_an_absurdly_large_integer_is_refused() -> None:
    with pytest.raises(ModelError, match="temperature"):
        SamplingParams(temperature=10**400)


def test_minus_infinity_is_a_logit_bias() -> None:
    assert SamplingParams(logit_bias={2: -math.inf}).logit_bias[2] == -math.inf
