"""Speed of a model, measured as llama-bench does and shown in its columns.

A test `pp<n>` feeds n random tokens in batches; `tg<n>` runs n steps of one token each, every one
drawn greedily from the logits before it; `pp<n>+tg<m>` does one after the other. At a depth
(`@ d<n>`) the context already holds n tokens, whose evaluation is not timed. Each test is run twice
to warm up, then `repetitions` times.

On a GPU rows also say what share of the device's measured peaks that is: of its read bandwidth
where tokens are generated, counting weights and cached keys and values, of its tensor cores' speed
where prompts are read, counting products and attention.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from math import prod
from statistics import mean, stdev
from time import perf_counter

import numpy as np

from gguf_run import __version__
from gguf_run.arch import BatchShape
from gguf_run.costs import Cost, Peaks, total_cost
from gguf_run.errors import ModelError
from gguf_run.kv_cache import Sequence as Tokens
from gguf_run.model import Model

SEED = 1


@dataclass(frozen=True, slots=True)
class Workload:
    """What one row measures: `n_prompt` tokens fed, then `n_gen` drawn, at `n_depth` tokens."""

    n_prompt: int = 0
    n_gen: int = 0
    n_depth: int = 0

    @property
    def name(self) -> str:
        """As llama-bench names it: "pp512", "tg128 @ d4096", "pp512+tg128"."""
        parts = [f"pp{self.n_prompt}"] if self.n_prompt else []
        parts += [f"tg{self.n_gen}"] if self.n_gen else []
        return "+".join(parts) + (f" @ d{self.n_depth}" if self.n_depth else "")

    @property
    def n_tok(self) -> int:
        """Tokens of context that it takes."""
        return self.n_depth + self.n_prompt + self.n_gen


def workloads(
    prompts: Iterable[int],
    gens: Iterable[int],
    depths: Iterable[int],
    both: Iterable[tuple[int, int]] = (),
) -> list[Workload]:
    """A test for each length of prompt, each of generation, and each pair of `both`, at each depth;
    0 is none."""
    pairs = [(n, 0) for n in prompts if n] + [(0, n) for n in gens if n] + list(both)
    return [Workload(p, g, d) for d in depths for p, g in pairs if p or g]


@dataclass(frozen=True, slots=True)
class Row:
    """A test's result, in llama-bench's fields. Times in nanoseconds, rates in tokens a second.

    The last ones are None where they say nothing: bytes read, where a prompt is; operations, where
    none is; both, where the device's peaks aren't known.
    """

    build: str
    backend: str
    model_filename: str
    model_type: str
    model_size: int
    model_n_params: int
    n_batch: int
    n_ubatch: int
    type_k: str
    type_v: str
    n_prompt: int
    n_gen: int
    n_depth: int
    test_time: str
    avg_ns: int
    stddev_ns: int
    avg_ts: float
    stddev_ts: float
    samples_ns: tuple[int, ...]
    read_gb_per_s: float | None
    read_share: float | None
    tflops: float | None
    flops_share: float | None

    @property
    def test(self) -> str:
        return Workload(self.n_prompt, self.n_gen, self.n_depth).name


def bench(
    model: Model,
    work: Sequence[Workload],
    repetitions: int = 5,
    progress: Callable[[str], None] | None = None,
    n_batch: int | None = None,
) -> list[Row]:
    """Run `work` on an open model, one row each.

    Args:
        progress: called with each test's name before it runs.
        n_batch: what rows say a batch is, which steps of the model's own size make up.

    Raises `ModelError` where a test needs more context than the model was opened with.
    """
    rows = []
    peaks = model.engine.backend.peaks()
    for test in work:
        if test.n_tok > model.n_ctx:
            raise ModelError(
                f"{test.name}: expected a context of at least {test.n_tok} tokens, found "
                f"{model.n_ctx}; open the model with a larger n_ctx"
            )
        if progress is not None:
            progress(test.name)
        samples = _samples(model, test, repetitions)
        rows.append(_row(model, test, samples, n_batch or model.engine.n_batch, peaks))
    return rows


def _samples(model: Model, test: Workload, repetitions: int) -> list[int]:
    """Nanoseconds of each repetition."""
    rng = np.random.default_rng(SEED)
    tokens = rng.integers(0, model.hparams.n_vocab, test.n_depth + max(test.n_prompt, 1)).tolist()
    depth, prompt = tokens[: test.n_depth], tokens[test.n_depth :]
    seq = model.engine.new_sequence()
    try:
        # Twice: a device may record a step as a graph when it runs for the second time.
        for _ in range(2):
            _go_to(model, seq, depth)
            _run(model, seq, prompt, Workload(test.n_prompt, min(test.n_gen, 4)))
        samples = []
        for _ in range(repetitions):
            _go_to(model, seq, depth)
            start = perf_counter()
            _run(model, seq, prompt, test)
            samples.append(int((perf_counter() - start) * 1e9))
        return samples
    finally:
        seq.close()


def _go_to(model: Model, seq: Tokens, depth: list[int]) -> None:
    """Leave `depth` alone in the cache, evaluating what could not be kept of it."""
    seq.rollback(len(depth))
    if len(seq) < len(depth):
        model.engine.evaluate(seq, depth[len(seq) :])


def _run(model: Model, seq: Tokens, prompt: list[int], test: Workload) -> None:
    token = prompt[0]
    if test.n_prompt:
        token = int(model.engine.evaluate(seq, prompt)[-1].argmax())
    if not test.n_gen:
        return
    followers = model.engine.follow(seq, token, test.n_gen)
    if followers is not None:
        deque(followers, maxlen=0)
        return
    for _ in range(test.n_gen):
        token = int(model.engine.forward([(seq, [token])])[-1].argmax())


def _row(
    model: Model, test: Workload, samples: Sequence[int], n_batch: int, peaks: Peaks | None
) -> Row:
    n_tok = test.n_prompt + test.n_gen
    rates = [n_tok / (ns / 1e9) for ns in samples]
    cache = model.engine.source.cache
    tensors = model.file.tensors.values()
    return Row(
        build=__version__,
        backend=model.device,
        model_filename=model.file.path.name,
        model_type=model_type(model),
        model_size=sum(t.n_bytes for t in tensors),
        model_n_params=_n_params(model),
        n_batch=n_batch,
        n_ubatch=model.engine.n_batch,
        type_k=cache.type_k.name.lower(),
        type_v=cache.type_v.name.lower(),
        n_prompt=test.n_prompt,
        n_gen=test.n_gen,
        n_depth=test.n_depth,
        test_time=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        avg_ns=round(mean(samples)),
        stddev_ns=round(_spread(samples)),
        avg_ts=mean(rates),
        stddev_ts=_spread(rates),
        samples_ns=tuple(samples),
        **_shares(model, test, mean(samples) / 1e9, peaks),
    )


def _shares(
    model: Model, test: Workload, seconds: float, peaks: Peaks | None
) -> dict[str, float | None]:
    """The last fields of a row."""
    found: dict[str, float | None] = dict.fromkeys(
        ("read_gb_per_s", "read_share", "tflops", "flops_share")
    )
    if peaks is None:
        return found
    if not test.n_prompt:
        read = _generation_cost(model, test.n_depth, test.n_gen).bytes_read / seconds
        found |= {"read_gb_per_s": read / 1e9, "read_share": read / peaks.read}
    if not test.n_gen:
        flops = _prompt_cost(model, test.n_depth, test.n_prompt).flops / seconds
        found |= {"tflops": flops / 1e12, "flops_share": flops / peaks.flops}
    return found


def _generation_cost(model: Model, n_past: int, n_gen: int) -> Cost:
    """Of `n_gen` tokens, one a step."""
    steps = model.engine.plan(BatchShape(1)).steps
    return sum((total_cost(steps, n_past + i) for i in range(n_gen)), Cost())


def _prompt_cost(model: Model, n_past: int, n_prompt: int) -> Cost:
    """Of a prompt in steps of the model's size."""
    size = model.engine.n_batch
    chunks = [min(size, n_prompt - start) for start in range(0, n_prompt, size)]
    steps = {n: model.engine.plan(BatchShape(n)).steps for n in set(chunks)}
    return sum((total_cost(steps[n], n_past + i * size) for i, n in enumerate(chunks)), Cost())


def _spread(values: Sequence[float]) -> float:
    return stdev(values) if len(values) > 1 else 0.0


FILE_TYPES = {0: "all F32", 10: "Q2_K - Medium", 11: "Q3_K - Small", 12: "Q3_K - Medium"}
FILE_TYPES |= {13: "Q3_K - Large", 14: "Q4_K - Small", 15: "Q4_K - Medium", 16: "Q5_K - Small"}
FILE_TYPES |= {17: "Q5_K - Medium", 38: "MXFP4 MoE"}
"""What llama-bench calls `general.file_type`, where that is not the type of most bytes."""


def model_type(model: Model) -> str:
    """Architecture, size and type: "qwen3 4B Q4_0", "llama 8B Q4_K - Medium"."""
    n_bytes: Counter[str] = Counter()
    for t in model.file.tensors.values():
        n_bytes[t.type.name] += t.n_bytes
    number = model.metadata.get("general.file_type")
    dtype = FILE_TYPES.get(number) if isinstance(number, int) else None
    size = model.metadata.get("general.size_label")
    label = size if isinstance(size, str) else count(_n_params(model))
    return f"{model.hparams.arch} {label} {dtype or n_bytes.most_common(1)[0][0]}"


def _n_params(model: Model) -> int:
    return sum(prod(t.shape) for t in model.file.tensors.values())


def count(n: float) -> str:
    """A number of parameters, as llama-bench writes it."""
    for scale, unit in ((1e9, "B"), (1e6, "M"), (1e3, "K")):
        if n >= scale:
            return f"{n / scale:.2f} {unit}"
    return f"{n:g}"
