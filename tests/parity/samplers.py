"""llama.cpp's sampler chain from the options of `Model.generate`, for the recorder."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Any

import llama_cpp
from oracle import Oracle

DEFAULTS = {
    "temperature": 0.8,
    "top_k": 40,
    "top_p": 0.95,
    "min_p": 0.05,
    "typical_p": 1.0,
    "top_n_sigma": -1.0,
    "repeat_penalty": 1.0,
    "repeat_last_n": 64,
    "frequency_penalty": 0.0,
    "presence_penalty": 0.0,
    "dry_multiplier": 0.0,
    "xtc_probability": 0.0,
    "xtc_threshold": 0.1,
    "dynatemp_range": 0.0,
    "mirostat": 0,
    "mirostat_tau": 5.0,
}
"""What llama.cpp's programs use for an option that is not given."""

DRY_BASE, DRY_ALLOWED_LENGTH, DRY_LAST_N = 1.75, 2, 64
DRY_BREAKERS = (b"\n", b":", b'"', b"*")
MIROSTAT_ETA = 0.1
MIROSTAT_M = 100
"""Tokens that mirostat 1 estimates the tail of the distribution from."""


def sampler_chain(oracle: Oracle, options: Mapping[str, Any]) -> list[Any]:
    """The samplers that llama.cpp's programs run for `options`, in its default order."""
    o, seed = {**DEFAULTS, **options}, options["seed"]
    if o["mirostat"]:
        return [llama_cpp.llama_sampler_init_temp(o["temperature"]), _mirostat(oracle, o, seed)]
    return [
        llama_cpp.llama_sampler_init_penalties(
            oracle.n_vocab,
            o["repeat_last_n"],
            o["repeat_penalty"],
            o["frequency_penalty"],
            o["presence_penalty"],
        ),
        _dry(oracle, o["dry_multiplier"]),
        llama_cpp.llama_sampler_init_top_n_sigma(o["top_n_sigma"]),
        llama_cpp.llama_sampler_init_top_k(o["top_k"]),
        llama_cpp.llama_sampler_init_typical(o["typical_p"], 0),
        llama_cpp.llama_sampler_init_top_p(o["top_p"], 0),
        llama_cpp.llama_sampler_init_min_p(o["min_p"], 0),
        llama_cpp.llama_sampler_init_xtc(o["xtc_probability"], o["xtc_threshold"], 0, seed),
        llama_cpp.llama_sampler_init_temp_ext(o["temperature"], o["dynatemp_range"], 1.0),
        llama_cpp.llama_sampler_init_dist(seed),
    ]


def _dry(oracle: Oracle, multiplier: float) -> Any:
    breakers = (ctypes.c_char_p * len(DRY_BREAKERS))(*DRY_BREAKERS)
    return llama_cpp.llama_sampler_init_dry(
        oracle.vocab,
        multiplier,
        DRY_BASE,
        DRY_ALLOWED_LENGTH,
        DRY_LAST_N,
        breakers,
        len(DRY_BREAKERS),
    )


def _mirostat(oracle: Oracle, o: Mapping[str, Any], seed: int) -> Any:
    if o["mirostat"] == 2:
        return llama_cpp.llama_sampler_init_mirostat_v2(seed, o["mirostat_tau"], MIROSTAT_ETA)
    return llama_cpp.llama_sampler_init_mirostat(
        oracle.n_vocab, seed, o["mirostat_tau"], MIROSTAT_ETA, MIROSTAT_M
    )
