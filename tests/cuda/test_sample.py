"""Tokens that the kernels draw are those of the host's chain, for the same logits and draws."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from emulated import emulated

from gguf_run import Model
from gguf_run.cuda.backend import CudaBackend
from gguf_run.cuda.executable import CudaExecutable
from gguf_run.engine import Engine
from gguf_run.errors import ModelError
from gguf_run.graph import F32, I32, Graph
from gguf_run.graph_ops import MAX_SAMPLED, SAMPLER
from gguf_run.sampling import SamplerChain, SamplingParams

Floats = npt.NDArray[np.float32]

N_ROOM = 64


class Kernels:
    """The op `sample` on an emulated device, for any size of vocabulary."""

    def __init__(self) -> None:
        self._backend = CudaBackend(None, emulated())  # type: ignore[arg-type]  # reads no file
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


@pytest.fixture(scope="module")
def kernels() -> Kernels:
    return Kernels()


def test_random_chains_draw_the_hosts_tokens(kernels: Kernels) -> None:
    assert compare(kernels, [1, 7, 384, 2048, 2049, 5000, 32000], 600, seed=1) == 0


def test_random_chains_draw_the_hosts_tokens_of_a_large_vocabulary(kernels: Kernels) -> None:
    assert compare(kernels, [151936], 20, seed=2) == 0


def test_no_token_is_drawn_where_all_are_ruled_out(kernels: Kernels) -> None:
    chain = SamplerChain(SamplingParams(logit_bias={0: -np.inf, 1: -np.inf}), 2)
    assert kernels.draw(chain, np.ones(2, np.float32)) == -1
    with pytest.raises(ModelError, match="loosen the logit biases"):
        chain.accept_drawn(-1, float("nan"))


@pytest.mark.parametrize(
    "options",
    [
        {"top_k": 0},
        {"top_k": 0, "top_p": 1.0, "min_keep": 2},
        {"top_k": MAX_SAMPLED + 1},
        {"typical_p": 0.9},
        {"xtc_probability": 0.5},
        {"mirostat": 2},
        {"dynatemp_range": 0.5},
        {"top_n_sigma": 1.0},
        {"dry_multiplier": 0.8, "dry_sequence_breakers": ()},
        {"samplers": ("temperature", "top_k"), "temperature": 0.5},
        {"samplers": ("top_k", "adaptive_p")},
        {"frequency_penalty": 1e38},
    ],
)
def test_other_chains_are_the_hosts(options: dict[str, Any]) -> None:
    assert SamplerChain(SamplingParams(seed=1, **options), 1000).on_device() is None


PROMPT = [1, 20, 30, 40, 20]
CHAINS: list[dict[str, Any]] = [
    {"seed": 1},
    {"seed": 2, "top_k": 200, "top_p": 1.0, "min_p": 0.0, "temperature": 1.5},
    {"seed": 3, "repeat_penalty": 1.5, "repeat_last_n": 4, "frequency_penalty": 0.3},
    {"seed": 4, "presence_penalty": 2.0, "repeat_last_n": 1000, "logit_bias": {5: 3.0, 6: 4.0}},
    {"temperature": 0, "repeat_penalty": 1.3, "repeat_last_n": 80},
    {"seed": 6, "top_k": 0, "top_p": 1.0, "frequency_penalty": 0.4},
    {"temperature": 0, "frequency_penalty": 0.5, "repeat_last_n": 81},
    {"seed": 5, "top_k": 1000, "top_p": 0.5, "temperature": 3.0, "repeat_last_n": 2},
]


@pytest.fixture(scope="module")
def model(tiny_llama: Path) -> Iterator[Model]:
    with Model(tiny_llama, device="emulated", n_ctx=80) as model:
        yield model


@pytest.mark.parametrize("options", CHAINS, ids=str)
def test_texts_drawn_on_the_device_are_the_hosts(
    model: Model, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    on_device = list(model.generate(PROMPT, ignore_eos=True, **options))
    monkeypatch.setattr(Engine, "follow", lambda *_: None)
    by_host = list(model.generate(PROMPT, ignore_eos=True, **options))
    assert [c.token for c in on_device] == [c.token for c in by_host]
    assert len(on_device) == model.n_ctx - len(PROMPT) + 1
    log_probs = [[c.logprob for c in chunks] for chunks in (on_device, by_host)]
    assert np.allclose(*log_probs, atol=1e-5)


@pytest.mark.parametrize("options", [{"seed": 3}, {"temperature": 0.0}], ids=str)
def test_two_texts_side_by_side_are_what_each_is_alone(
    tiny_llama: Path, options: dict[str, Any]
) -> None:
    prompts = [PROMPT, [1, 9, 8, 7]]
    with Model(tiny_llama, device="emulated", n_ctx=80, n_parallel=2) as model:
        alone = [[c.token for c in model.generate(p, 12, **options)] for p in prompts]
        pairs = zip(*(model.generate(p, 12, **options) for p in prompts), strict=True)
        together = zip(*([c.token for c in pair] for pair in pairs), strict=True)
        assert [list(tokens) for tokens in together] == alone


def test_a_token_that_cannot_be_drawn_ends_the_text(model: Model) -> None:
    never = dict.fromkeys(range(384), -np.inf)
    chunks = model.generate(PROMPT, 10, logit_bias={**never, 7: -3e38, 8: 0.0})
    assert next(chunks).token == 8
    with pytest.raises(ModelError, match="loosen"):
        list(model.generate(PROMPT, 10, logit_bias=never))
    assert model.engine.pool.n_free == model.engine.pool.n_page - 1
    chunks.close()
    assert model.engine.pool.n_free == model.engine.pool.n_page


def test_a_chain_goes_on_behind_the_tokens_that_a_device_drew(model: Model) -> None:
    params = SamplingParams(seed=9, repeat_penalty=1.2)
    chain, twin = SamplerChain(params, 384), SamplerChain(params, 384)
    logits = np.linspace(0, 5, 384, dtype=np.float32)
    for _ in range(5):
        token = twin.sample(logits).token
        twin.accept(token)
        chain.accept_drawn(token, -1.0)
    assert chain.sample(logits).token == twin.sample(logits).token
