"""Time of each kind of step of a plan, and of the whole captured step, on random weights.

    python benchmarks/decode_steps.py --models qwen3-4b,llama-8b --type Q4_0 --sweep
    python benchmarks/decode_steps.py --models llama-8b --tokens 16,2048 --depths 0

Weights are made on the device in a real model's shapes (`gguf_run/shapes.py`). A step is that which
generates a token, or reads `--tokens` of a prompt behind `--depths` others. A kind of step is timed
alone, all layers' steps of that kind after one another; then all steps in order. `--sweep` changes
one number of one kind's row of the tuning table after the other and keeps what makes the whole step
faster. The share is that of `--peak` terabytes a second.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from itertools import product
from statistics import median
from typing import Any

import numpy as np

from gguf_run.arch import BatchShape, CacheShape, find_architecture
from gguf_run.costs import total_cost
from gguf_run.cuda import tuning
from gguf_run.cuda.backend import CudaBackend
from gguf_run.cuda.device import Buffer, Device, Module
from gguf_run.cuda.lowering import LOWERINGS, Call, Lowering
from gguf_run.cuda.ops.stream_mul_mat import tuning_key
from gguf_run.cuda.select import open_device
from gguf_run.cuda.source import KernelSource
from gguf_run.cuda.weights import resident_bytes
from gguf_run.engine import GraphSource
from gguf_run.graph import Graph, Kind, Tensor
from gguf_run.hparams import HParams
from gguf_run.kv_cache import pages_for
from gguf_run.plan import Step
from gguf_run.quants import quant_type
from gguf_run.random_model import random_model
from gguf_run.weights import WeightTable

REPLAYS = 15
NOISE_BYTES = 32 << 20


def step_graph(name: str, dtype: str, cache: str, depth: int, n_tok: int) -> Graph:
    """The graph that reads `n_tok` tokens at `depth` tokens, of a shape of the product's table; for
    one token with what draws the next one, greedily."""
    file, n_ctx = random_model(name, dtype), depth + n_tok
    hp = HParams.from_metadata(file.metadata, name)
    types = (quant_type(cache),) * 3
    source = GraphSource(
        find_architecture(hp.arch, name),
        hp,
        WeightTable.from_gguf(file),
        CacheShape(pages_for(n_ctx), n_ctx, *types),
    )
    if n_tok > 1:
        return source.graph(BatchShape(n_tok))
    return source.drawing_graph(BatchShape(1), "argmax")


class Bench:
    """A plan on random memory; `launches` are made anew for each choice of the tuning table."""

    def __init__(self, device: Device, graph: Graph, depth: int, n_tok: int, fuse: bool) -> None:
        self.device = device
        self.backend = CudaBackend(None, device)  # type: ignore[arg-type]  # plans read no file
        self.depth = depth
        self.modules: dict[KernelSource, Module] = {}
        self.leaves = self._memory(graph, depth, n_tok)
        self.plan = self.backend.plan(graph, fuse)
        self.arena = device.alloc(self.plan.arena_bytes)

    def _memory(self, g: Graph, depth: int, n_tok: int) -> dict[Tensor, Buffer]:
        rng = np.random.default_rng(0)
        noise = self.device.alloc(NOISE_BYTES)
        self.device.upload(noise, rng.integers(0, 256, NOISE_BYTES, dtype=np.uint8) & 0x3B)
        inputs = {
            "positions": np.arange(depth, depth + n_tok),
            "slots": np.arange(depth, depth + n_tok),
            "seq_ids": np.zeros(n_tok),
            "tokens": np.arange(1, 1 + n_tok),
            "out_rows": [n_tok - 1],
            "block_table": np.arange(pages_for(depth + n_tok)),
        }
        leaves = {}
        for leaf in g.leaves:
            n_bytes = resident_bytes(leaf) if leaf.kind is Kind.WEIGHT else leaf.n_bytes
            leaves[leaf] = buffer = self.device.alloc(n_bytes)
            if leaf.kind is Kind.INPUT:
                self.device.upload(buffer, np.asarray(inputs[leaf.name], np.int32))
                continue
            for start in range(0, n_bytes, NOISE_BYTES):
                size = min(NOISE_BYTES, n_bytes - start)
                self.device.copy(buffer.at(start, size), noise.at(0, size))
        self.device.synchronize()
        return leaves

    def calls(self) -> list[tuple[Step, Sequence[Call]]]:
        """The launches of every step by the tuning table as it is now, their kernels compiled."""
        low = Lowering(self.device, self.arena, self.plan.offsets, self.leaves, [])
        found = []
        for step in self.plan.steps:
            start = len(low.calls)
            LOWERINGS[step.op](low, step)
            found.append((step, low.calls[start:]))
        missing = [m for m in dict.fromkeys(c.module for c in low.calls) if m not in self.modules]
        self.modules.update(zip(missing, self.device.modules(missing), strict=True))
        return found

    def microseconds(self, calls: Iterable[Call]) -> float:
        """Median time of the launches, replayed as one graph."""
        with self.device.capture() as graph:
            for c in calls:
                kernel = self.modules[c.module][c.kernel]
                size = {"shared": c.shared, "pdl": c.pdl}
                self.device.launch(kernel, c.grid, c.block, c.args, **size)
        times = []
        for _ in range(REPLAYS):
            before = self.device.record()
            graph.replay()
            after = self.device.record()
            self.device.synchronize()
            times.append(after.elapsed_ms(before))
        return median(times[3:]) * 1e3

    def step(self) -> float:
        """Time of the whole step by the tuning table as it is now."""
        return self.microseconds(c for _, calls in self.calls() for c in calls)


def kind_of(step: Step) -> str:
    """Steps of one name with weights of the same shapes are one kind."""
    weights = [s for s in step.inputs if s.kind is Kind.WEIGHT and len(s.shape) > 1]
    return " ".join([step.op, *("x".join(map(str, w.shape)) for w in weights)])


def report(bench: Bench, labels: dict[str, Any], peak: float) -> list[dict[str, Any]]:
    """A row a kind of step, then the whole step."""
    calls = bench.calls()
    kinds: dict[str, list[tuple[Step, Sequence[Call]]]] = {}
    for step, of_step in calls:
        kinds.setdefault(kind_of(step), []).append((step, of_step))
    rows = []
    for kind, steps in [*kinds.items(), ("whole step", calls)]:
        launches = [c for _, of_step in steps for c in of_step]
        n = 1 if kind == "whole step" else len(steps)
        us = bench.microseconds(launches) / n
        cost = total_cost((step for step, _ in steps), bench.depth)
        rate, speed = cost.bytes_read / n / us / 1e6, cost.flops / n / us / 1e6
        row = {"step": kind, "steps": len(steps), "kernels": len(launches), "us": f"{us:.2f}"}
        row |= {"all_us": f"{us * n:.0f}", "TB_per_s": f"{rate:.3f}", "share": f"{rate / peak:.3f}"}
        row |= {"TFLOP_per_s": f"{speed:.1f}"}
        rows.append({**labels, **row})
    return rows


# Tuning

CANDIDATES: dict[str, dict[str, Sequence[Any]]] = {
    "STREAMS": {
        "rows": (1, 2),
        "k_split": (1, 2, 4, 8),
        "trigger": (0, 1, 2),
        "in_flight_bytes": tuple(n << 10 for n in (24, 32, 44, 64, 90)),
        "stage_bytes": tuple(n << 10 for n in (48, 72, 96, 110, 200)),
        "per_sm": (1, 2, 3),
    },
    "ATTENTION": {
        "least": (64, 128, 256, 384, 768),
        "trigger": (0, 1, 2),
    },
}


def sweep(bench: Bench, labels: dict[str, Any], rounds: int) -> list[dict[str, Any]]:
    """Change one number at a time, keep it where the whole step gets faster by 0.2%. Rows are made
    for just the kinds, sizes and types of the plan's launches."""
    keys: list[tuple[str, Any]] = []
    for key in dict.fromkeys(tuning_key(bench.device, step) for step in bench.plan.steps):
        if key is not None:
            _set("STREAMS", key, tuning.stream(key))
            keys.append(("STREAMS", key))
    if any(step.op == "attn_decode" for step in bench.plan.steps):
        keys.append(("ATTENTION", tuning.generation(bench.device)))
    rows = []
    best = bench.step()
    for _ in range(rounds):
        for table, key in keys:
            for tried, us in _changes(bench, table, key):
                rows.append({**labels, "kind": str(key), **asdict(tried), "us": f"{us:.1f}"})
                if us < best * 0.998:
                    best = us
                    _set(table, key, tried)
    for table, key in keys:
        print(f"best: {labels}: {getattr(tuning, table)[key]} {key}", flush=True)
    print(f"best: {labels}: {best:.1f} us, {1e6 / best:.0f} tok/s", flush=True)
    return rows


def _set(table: str, key: Any, choice: Any) -> None:
    setattr(tuning, table, {**getattr(tuning, table), key: choice})


def _changes(bench: Bench, table: str, key: Any) -> Iterator[tuple[Any, float]]:
    """Each choice that differs from the present one in one number, and the step's time with it."""
    for name, values in CANDIDATES[table].items():
        for value in values:
            now = getattr(tuning, table)[key]
            tried = replace(now, **{name: value})
            if tried == now:
                continue
            _set(table, key, tried)
            us = _tried(bench.step)
            _set(table, key, now)
            yield tried, us


def _tried(step: Callable[[], float]) -> float:
    try:
        return step()
    except AssertionError:  # nothing of that choice fits this shape
        return float("inf")


def write(rows: Sequence[dict[str, Any]], path: str | None) -> None:
    """Rows as csv, to a file or to the terminal."""
    if not rows:
        return
    names = list(dict.fromkeys(key for row in rows for key in row))
    if path is None:
        csv.DictWriter(sys.stdout, names, lineterminator="\n").writeheader()
        csv.DictWriter(sys.stdout, names, lineterminator="\n").writerows(rows)
        return
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", default="qwen3-0.6b,qwen3-4b,llama-8b")
    parser.add_argument("--types", default="Q4_0")
    parser.add_argument("--cache", default="F16")
    parser.add_argument("--depths", default="128")
    parser.add_argument("--tokens", default="1", help="tokens of a step")
    parser.add_argument("--unfused", action="store_true")
    parser.add_argument("--generic", action="store_true", help="the kernels of older GPUs")
    parser.add_argument("--sweep", type=int, default=0, metavar="ROUNDS")
    parser.add_argument("--sweep-csv", help="where every try goes")
    parser.add_argument("--peak", type=float, default=4.53, help="read bandwidth in TB/s")
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args()
    tried = []
    lists = (options.models, options.types, options.depths, options.tokens)
    with open_device(options.device) as device:
        if options.generic:
            tuning.generation = lambda _: tuning.GENERIC
        for name, dtype, *numbers in product(*(text.split(",") for text in lists)):
            depth, n_tok = map(int, numbers)
            graph = step_graph(name, dtype, options.cache, depth, n_tok)
            bench = Bench(device, graph, depth, n_tok, not options.unfused)
            labels = {"model": name, "type": dtype, "depth": depth, "tokens": n_tok}
            if options.sweep:
                tried += sweep(bench, labels, options.sweep)
            write(report(bench, labels, options.peak), None)
            sys.stdout.flush()
            del bench
    if options.sweep_csv:
        write(tried, options.sweep_csv)


if __name__ == "__main__":
    main()
