"""Random chains of samplers and logits, drawn from by kernels and by the host."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from gguf_run.cuda.backend import CudaBackend
from gguf_run.cuda.device import Device
from gguf_run.cuda.executable import CudaExecutable
from gguf_run.errors import ModelError
from gguf_run.graph import F32, I32, Graph
from gguf_run.graph_ops import MAX_SAMPLED, SAMPLER
from gguf_run.sampling import SamplerChain, SamplingParams

Floats = npt.NDArray[np.float32]

N_ROOM = 64


class Kernels:
    """The ops that draw by a chain of samplers, on a device, for any size of vocabulary."""

    def __init__(self, device: Device) -> None:
        self._backend = CudaBackend(None, device)  # type: ignore[arg-type]  # reads no file
        self._by_size: dict[tuple[str, int], CudaExecutable] = {}

    def draw(self, chain: SamplerChain, logits: Floats) -> int:
        """The token that `chain` would draw next."""
        sampling, n_vocab = chain.on_device(), len(logits)
        assert sampling is not None
        # As the chain would be run where it is not the logits as they come that are asked for.
        op = "sample" if sampling.op == "argmax" else sampling.op
        if (op, n_vocab) not in self._by_size:
            plan = self._backend.plan(_graph(n_vocab, op))
            self._by_size[op, n_vocab] = self._backend.prepare(plan)
        inputs = {"logits": logits[None], **sampling.arrays(n_vocab, N_ROOM, 1)}
        return int(self._by_size[op, n_vocab](inputs)[0])


def _graph(n_vocab: int, op: str) -> Graph:
    g, shape = Graph(), (1, n_vocab)
    logits, bias = (g.input(name, shape, F32) for name in ("logits", "bias"))
    counts, sampler = g.input("counts", shape, I32), g.input("sampler", (1, len(SAMPLER)), F32)
    g.output(g.sample(logits, bias, counts, sampler, g.input("draw", (1, 2), I32), op))
    return g


def random_logits(rng: np.random.Generator, n_vocab: int) -> Floats:
    """Flat or steep, tied or not, some ruled out, some huge."""
    x = rng.standard_normal(n_vocab) * 2.0 ** rng.integers(-2, 5)
    kind = rng.integers(6)
    if kind == 0:
        x = np.round(x * 2) / 2
    elif kind == 1:
        x = x.astype(np.float16)
    elif kind == 2:
        x[rng.random(n_vocab) < rng.choice([0.1, 0.9, 0.999])] = -np.inf
        x[rng.integers(n_vocab)] = 1
    elif kind == 3:
        x *= 10.0 ** rng.integers(-30, 36)
    elif kind == 4:
        x[rng.integers(n_vocab, size=rng.integers(1, 9))] += rng.uniform(5, 40)
    return np.asarray(x, np.float32)


def random_params(rng: np.random.Generator, n_vocab: int) -> SamplingParams:
    """Any chain that a device can run."""

    def some(value: Any, off: Any) -> Any:
        return value if rng.random() < 0.7 else off

    among_all = rng.random() < 0.3
    tokens = rng.integers(n_vocab, size=3).tolist()
    biases = dict(zip(tokens, [rng.normal() * 5, -np.inf, rng.normal()], strict=True))
    return SamplingParams(
        seed=int(rng.integers(2**32 - 1)),
        temperature=float(some(rng.choice([0.0, 0.2, 0.8, 1.3, 4.0, 1e-38]), 0.8)),
        top_k=0 if among_all else int(some(rng.integers(1, MAX_SAMPLED + 1), 40)),
        top_p=1.0 if among_all else float(some(rng.uniform(0, 1), 1.0)),
        min_p=float(some(rng.uniform(0, 1) ** 3, 0.0)),
        min_keep=0 if among_all else int(some(0, rng.integers(0, 60))),
        repeat_penalty=float(some(rng.uniform(0.7, 1.6), 1.0)),
        repeat_last_n=int(some(rng.integers(0, 40), 64)),
        frequency_penalty=float(some(0.0, rng.uniform(-1, 1))),
        presence_penalty=float(some(0.0, rng.uniform(-1, 1))),
        logit_bias=some(biases, {}),
    )


def compare(kernels: Kernels, sizes: list[int], n_step: int, seed: int) -> int:
    """Draws `n_step` tokens by chains of 10 tokens -> how many the kernels drew otherwise."""
    rng = np.random.default_rng(seed)
    n_other = 0
    for step in range(n_step):
        if step % 10 == 0:
            n_vocab = int(rng.choice(sizes))
            chain = SamplerChain(random_params(rng, n_vocab), n_vocab)
            for token in rng.integers(min(30, n_vocab), size=rng.integers(40)):
                chain.accept(int(token))
        logits = random_logits(rng, n_vocab)
        drawn = kernels.draw(chain, logits)
        try:
            expected = chain.sample(logits).token
        except ModelError:
            expected = -1
        n_other += drawn != expected
        if expected >= 0:
            chain.accept(expected)
    return n_other
