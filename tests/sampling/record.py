"""Record what llama.cpp makes of the cases of recorded.py: `python -m sampling.record` in tests/.

Needs the extra `parity`. llama.cpp's samplers are run through their C interface, without a model.
"""

from __future__ import annotations

import ctypes

import llama_cpp as llama
import numpy as np
import numpy.typing as npt

from gguf_run.sampling import SamplingParams

from .recorded import CASES, DATA, STEPS, logits_of_step, params_of, text_of

_CANDIDATE = np.dtype([("id", "<i4"), ("logit", "<f4"), ("p", "<f4")])


class Oracle:
    """llama.cpp's chain for the same parameters, put together as its programs do."""

    def __init__(self, params: SamplingParams, n_vocab: int) -> None:
        self._chain = llama.llama_sampler_chain_init(llama.llama_sampler_chain_default_params())
        for sampler in _samplers(params, n_vocab):
            llama.llama_sampler_chain_add(self._chain, sampler)

    def sample(self, logits: npt.NDArray[np.float32]) -> tuple[int, npt.NDArray[np.void]]:
        """The token drawn, and the candidates of probability above 0 as they then stand."""
        data = np.zeros(len(logits), _CANDIDATE)
        data["id"], data["logit"] = np.arange(len(logits)), logits
        array = llama.llama_token_data_array()
        array.data = ctypes.cast(data.ctypes.data, llama.llama_token_data_p)
        array.size, array.selected, array.sorted = len(data), -1, False
        llama.llama_sampler_apply(self._chain, ctypes.byref(array))
        # XTC moves the start of the array.
        moved = ctypes.cast(array.data, ctypes.c_void_p).value - data.ctypes.data
        start = moved // _CANDIDATE.itemsize
        left = data[start : start + array.size]
        return int(left["id"][array.selected]), left[left["p"] > 0]

    def accept(self, token: int) -> None:
        llama.llama_sampler_accept(self._chain, token)


def _samplers(p: SamplingParams, n_vocab: int) -> list[object]:
    bias = [llama.llama_logit_bias(token, value) for token, value in p.logit_bias.items()]
    biases = (llama.llama_logit_bias * len(bias))(*bias)
    first = [llama.llama_sampler_init_logit_bias(n_vocab, len(bias), biases)] if bias else []
    seed = p.seed
    if p.mirostat:
        last = {
            1: lambda: llama.llama_sampler_init_mirostat(
                n_vocab, seed, p.mirostat_tau, p.mirostat_eta, 100
            ),
            2: lambda: llama.llama_sampler_init_mirostat_v2(seed, p.mirostat_tau, p.mirostat_eta),
        }
        return [*first, llama.llama_sampler_init_temp(p.temperature), last[p.mirostat]()]
    make = {
        "penalties": lambda: llama.llama_sampler_init_penalties(
            n_vocab, p.repeat_last_n, p.repeat_penalty, p.frequency_penalty, p.presence_penalty
        ),
        "dry": lambda: llama.llama_sampler_init_dry(
            None,
            p.dry_multiplier,
            p.dry_base,
            p.dry_allowed_length,
            p.dry_penalty_last_n,
            None,
            0,
        ),
        "top_n_sigma": lambda: llama.llama_sampler_init_top_n_sigma(p.top_n_sigma),
        "top_k": lambda: llama.llama_sampler_init_top_k(p.top_k),
        "typ_p": lambda: llama.llama_sampler_init_typical(p.typical_p, p.min_keep),
        "top_p": lambda: llama.llama_sampler_init_top_p(p.top_p, p.min_keep),
        "min_p": lambda: llama.llama_sampler_init_min_p(p.min_p, p.min_keep),
        "xtc": lambda: llama.llama_sampler_init_xtc(
            p.xtc_probability, p.xtc_threshold, p.min_keep, seed
        ),
        "temperature": lambda: llama.llama_sampler_init_temp_ext(
            p.temperature, p.dynatemp_range, p.dynatemp_exponent
        ),
    }
    chain = [make[name]() for name in p.samplers if name != "adaptive_p"]
    if "adaptive_p" in p.samplers:
        draw = llama.llama_sampler_init_adaptive_p(p.adaptive_target, p.adaptive_decay, seed)
    else:
        draw = llama.llama_sampler_init_dist(seed)
    return [*first, *chain, draw]


def main() -> None:
    arrays: dict[str, npt.NDArray[np.generic]] = {}
    for name, (n_vocab, _) in CASES.items():
        oracle = Oracle(params_of(name), n_vocab)
        for token in text_of(name):
            oracle.accept(token)
        steps = []
        for step in range(STEPS):
            steps.append(oracle.sample(logits_of_step(name, step)))
            oracle.accept(steps[-1][0])
        kept = np.concatenate([left for _, left in steps])
        arrays[f"{name}/token"] = np.array([token for token, _ in steps], np.uint16)
        arrays[f"{name}/count"] = np.array([len(left) for _, left in steps], np.uint16)
        arrays[f"{name}/ids"] = kept["id"].astype(np.uint16)
        arrays[f"{name}/probs"] = kept["p"]
    DATA.parent.mkdir(exist_ok=True)
    np.savez_compressed(DATA, **arrays)


if __name__ == "__main__":
    main()
