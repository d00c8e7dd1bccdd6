"""Speed of a model, measured as llama-bench does and shown in its columns.

A test `pp<n>` feeds n random tokens in batches; `tg<n>` runs n steps of one token each, every one
drawn greedily from the logits before it. At a depth (`@ d<n>`) the context already holds n tokens,
whose evaluation is not timed. Each test is run twice to warm up, then `repetitions` times.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from math import prod
from statistics import mean, stdev
from time import perf_counter

import numpy as np

from gguf_run import __version__
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


def workloads(prompts: Iterable[int], gens: Iterable[int], depths: Iterable[int]) -> list[Workload]:
    """A test for each length of prompt and each of generation, at each depth; 0 is none."""
    pairs = [(n, 0) for n in prompts if n] + [(0, n) for n in gens if n]
    return [Workload(p, g, d) for d in depths for p, g in pairs]


@dataclass(frozen=True, slots=True)
class Row:
    """A test's result, in llama-bench's fields. Times in nanoseconds, rates in tokens a second."""

    build: str
    backend: str
    model_filename: str
    model_type: str
    model_size: int
    model_n_params: int
    n_batch: int
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

    @property
    def test(self) -> str:
        return Workload(self.n_prompt, self.n_gen, self.n_depth).name


def bench(
    model: Model,
    work: Sequence[Workload],
    repetitions: int = 5,
    progress: Callable[[str], None] | None = None,
) -> list[Row]:
    """Run `work` on an open model, one row each.

    Raises `ModelError` where a test needs more context than the model was opened with.
    """
    rows = []
    for test in work:
        if test.n_tok > model.n_ctx:
            raise ModelError(
                f"{test.name}: expected a context of at least {test.n_tok} tokens, found "
                f"{model.n_ctx}; open the model with a larger n_ctx"
            )
        if progress is not None:
            progress(test.name)
        samples = _samples(model, test, repetitions)
        rows.append(_row(model, test, samples))
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


def _row(model: Model, test: Workload, samples: Sequence[int]) -> Row:
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
        model_n_params=sum(prod(t.shape) for t in tensors),
        n_batch=model.engine.n_batch,
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
    )


def _spread(values: Sequence[float]) -> float:
    return stdev(values) if len(values) > 1 else 0.0


def model_type(model: Model) -> str:
    """Architecture, size and the type that most of its bytes have: "qwen3 4B Q4_0"."""
    n_bytes: Counter[str] = Counter()
    for t in model.file.tensors.values():
        n_bytes[t.type.name] += t.n_bytes
    size = model.metadata.get("general.size_label")
    label = size if isinstance(size, str) else _count(_n_params(model))
    return f"{model.hparams.arch} {label} {n_bytes.most_common(1)[0][0]}"


def _n_params(model: Model) -> int:
    return sum(prod(t.shape) for t in model.file.tensors.values())


def _count(n: float) -> str:
    for scale, unit in ((1e9, "B"), (1e6, "M"), (1e3, "K")):
        if n >= scale:
            return f"{n / scale:.2f} {unit}"
    return f"{n:g}"


def _bytes(n: int) -> str:
    return f"{n / 2**30:.2f} GiB" if n >= 1 << 30 else f"{n / 2**20:.2f} MiB"


def as_markdown(rows: Sequence[Row]) -> str:
    """The table that llama-bench prints."""
    head = ("model", "size", "params", "backend", "n_batch", "type_k", "type_v", "test", "t/s")
    cells = [
        (
            row.model_type,
            _bytes(row.model_size),
            _count(row.model_n_params),
            row.backend,
            str(row.n_batch),
            row.type_k,
            row.type_v,
            row.test,
            f"{row.avg_ts:.2f} ± {row.stddev_ts:.2f}",
        )
        for row in rows
    ]
    widths = [max(len(line[i]) for line in (head, *cells)) for i in range(len(head))]
    right = {1, 2, 4, 5, 6, 7, 8}

    def line(values: Sequence[str]) -> str:
        padded = (
            v.rjust(w) if i in right else v.ljust(w)
            for i, (v, w) in enumerate(zip(values, widths, strict=True))
        )
        return f"| {' | '.join(padded)} |"

    rule = "|".join(
        f" {'-' * (w - 1)}: " if i in right else f" {'-' * w} " for i, w in enumerate(widths)
    )
    return "\n".join([line(head), f"|{rule}|", *map(line, cells)])


def as_csv(rows: Sequence[Row]) -> str:
    """A line a test, under a line of field names."""
    out = io.StringIO()
    fields = [name for name in Row.__dataclass_fields__ if name != "samples_ns"]
    writer = csv.DictWriter(out, fields, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    return out.getvalue().rstrip("\n")


def as_json(rows: Sequence[Row]) -> str:
    """A list of objects, with every sample."""
    return json.dumps([asdict(row) for row in rows], indent=2)
