"""Candidates, their order, their probabilities and the draws, as recorded from llama.cpp."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from gguf_run.sampling import SamplerChain

from .recorded import CASES, STEPS, load, logits_of_step, params_of, text_of

pytestmark = pytest.mark.parity


@pytest.fixture(scope="module")
def recorded() -> dict[str, npt.NDArray[np.generic]]:
    return load()


@pytest.mark.parametrize("name", CASES)
def test_the_chain_does_what_llama_cpp_did(
    name: str, recorded: dict[str, npt.NDArray[np.generic]]
) -> None:
    chain = SamplerChain(params_of(name), CASES[name][0])
    for token in text_of(name):
        chain.accept(token)
    ends = np.cumsum(recorded[f"{name}/count"])[:-1]
    ids_of = np.split(recorded[f"{name}/ids"], ends)
    probs_of = np.split(recorded[f"{name}/probs"], ends)
    for step in range(STEPS):
        logits = logits_of_step(name, step)
        ids, probs = chain.probabilities(logits)
        # A greedy chain of ours leaves the best alone, theirs leaves others at probability 0.
        assert ids[probs > 0].tolist() == ids_of[step].tolist()
        np.testing.assert_allclose(probs[probs > 0], probs_of[step], rtol=2e-6, atol=0)
        token = chain.sample(logits).token
        assert token == recorded[f"{name}/token"][step]
        chain.accept(token)
