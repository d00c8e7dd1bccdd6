"""Chains that were run in llama.cpp as well: written by record.py, read by the tests.

Each case is a chain that has accepted a text of few distinct tokens, and then draws and accepts
`STEPS` tokens from logits that any machine makes alike: integers of a Mersenne twister, scaled by
operations that IEEE 754 rounds in one way only.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from gguf_run.sampling import SamplingParams
from gguf_run.sampling.candidates import F32

DATA = Path(__file__).parent / "data" / "llama_cpp.npz"
STEPS = 12
N_TEXT = 40
N_FEW = 8

_OFF: dict[str, object] = {"top_k": 0, "top_p": 1.0, "min_p": 0.0, "temperature": 1.0}
_DRY: dict[str, object] = {"dry_multiplier": 0.8, "dry_sequence_breakers": ()}

#: name -> (size of the vocabulary, parameters)
CASES: dict[str, tuple[int, dict[str, object]]] = {
    "default": (64, {}),
    "default-large": (5000, {}),
    "off": (64, _OFF),
    "greedy": (64, {"temperature": 0.0}),
    "hot": (64, {"temperature": 2.5}),
    "top-k-5": (64, {**_OFF, "top_k": 5}),
    "top-k-150": (5000, {**_OFF, "top_k": 150}),
    "top-k-beyond": (64, {**_OFF, "top_k": 1000}),
    "top-p": (64, {**_OFF, "top_p": 0.6}),
    "top-p-0": (64, {**_OFF, "top_p": 0.0}),
    "top-p-nucleus": (5000, {**_OFF, "top_p": 0.08}),
    "top-p-min-keep": (64, {**_OFF, "top_p": 0.1, "min_keep": 7}),
    "min-p": (64, {**_OFF, "min_p": 0.2}),
    "min-p-1": (64, {**_OFF, "min_p": 1.0}),
    "min-p-sorted": (64, {**_OFF, "top_k": 60, "min_p": 0.1}),
    "min-p-min-keep": (64, {**_OFF, "min_p": 0.9, "min_keep": 4}),
    "typical": (64, {**_OFF, "typical_p": 0.6}),
    "typical-min-keep": (64, {**_OFF, "typical_p": 0.1, "min_keep": 6}),
    "typical-greedy": (64, {"typical_p": 0.3, "temperature": 0.0}),
    "n-sigma": (64, {**_OFF, "top_n_sigma": 1.0}),
    "n-sigma-large": (5000, {"top_n_sigma": 1.5}),
    "repeat": (64, {**_OFF, "repeat_penalty": 1.3, "repeat_last_n": 10}),
    "frequency": (64, {**_OFF, "frequency_penalty": 0.3}),
    "presence": (64, {**_OFF, "presence_penalty": 0.7, "repeat_last_n": 5}),
    "penalties": (
        64,
        {"repeat_penalty": 1.2, "frequency_penalty": 0.1, "presence_penalty": -0.2},
    ),
    "bias": (64, {"logit_bias": {3: 1.5, 0: -np.inf, 63: 4.0}}),
    "dry": (64, {**_OFF, **_DRY}),
    "dry-short": (64, {**_DRY, "dry_allowed_length": 0, "dry_penalty_last_n": 16}),
    "dry-steep": (64, {**_OFF, **_DRY, "dry_base": 3.0, "dry_allowed_length": 1}),
    "xtc": (64, {**_OFF, "xtc_probability": 0.5, "xtc_threshold": 0.05}),
    "xtc-default": (64, {"xtc_probability": 1.0}),
    "xtc-min-keep": (64, {"xtc_probability": 0.8, "xtc_threshold": 0.05, "min_keep": 3}),
    "dynamic": (64, {**_OFF, "dynatemp_range": 0.5}),
    "dynamic-from-0": (64, {"temperature": 0.3, "dynatemp_range": 2.0, "dynatemp_exponent": 1.7}),
    "mirostat-1": (64, {"mirostat": 1, "mirostat_tau": 2.0, "mirostat_eta": 0.4}),
    "mirostat-1-unbound": (64, {"mirostat": 1, "mirostat_tau": 8.0, "mirostat_eta": 0.9}),
    "mirostat-2": (64, {"mirostat": 2, "mirostat_tau": 2.0, "mirostat_eta": 0.4}),
    "mirostat-2-greedy": (64, {"mirostat": 2, "temperature": 0.0}),
    "adaptive": (64, {"samplers": ("min_p", "adaptive_p"), "adaptive_target": 0.3}),
    "adaptive-sorted": (
        64,
        {"samplers": ("top_k", "adaptive_p"), "adaptive_target": 0.1, "adaptive_decay": 0.5},
    ),
    "adaptive-off": (64, {"samplers": ("adaptive_p",)}),
    "all": (
        64,
        {
            **_DRY,
            "repeat_penalty": 1.1,
            "typical_p": 0.95,
            "xtc_probability": 0.3,
            "dynatemp_range": 0.2,
            "logit_bias": {5: 0.5},
        },
    ),
    "turned": (
        64,
        {
            **_DRY,
            "samplers": ("temperature", "xtc", "min_p", "top_p", "top_k", "dry", "penalties"),
            "repeat_penalty": 1.1,
            "xtc_probability": 0.3,
        },
    ),
}


def params_of(name: str) -> SamplingParams:
    """The parameters of a case; the seed is its place in the table."""
    return SamplingParams(seed=1000 + list(CASES).index(name), **CASES[name][1])  # type: ignore[arg-type]


def text_of(name: str) -> list[int]:
    """The tokens accepted before the first draw."""
    generator = np.random.RandomState(list(CASES).index(name))
    return [int(token) for token in generator.randint(0, N_FEW, N_TEXT)]


def logits_of_step(name: str, step: int) -> F32:
    """float32 (n_vocab,): mostly low, a few high, the text's own tokens among the high ones."""
    generator = np.random.RandomState(STEPS * list(CASES).index(name) + step)
    u = generator.randint(0, 2**24, CASES[name][0]) / 2.0**24
    logits = u * u * u * 9 - 4
    logits[:N_FEW] += 3
    return logits.astype(np.float32)


def load() -> dict[str, npt.NDArray[np.generic]]:
    """Keys `<case>/token` (STEPS,), `<case>/count` (STEPS,), `<case>/ids`, `<case>/probs` (sum,).

    Per step: the token drawn, and the candidates of probability above 0 in their order.
    """
    with np.load(DATA) as stored:
        return dict(stored)
