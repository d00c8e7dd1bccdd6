"""Time of each kind of step of a decode plan, and of the whole captured step, on random weights.

    python benchmarks/decode_steps.py --models qwen3-4b,llama-8b --type Q4_0 --sweep

Weights are made on the device in a real model's shapes: nothing is read from files. A kind of step
is timed alone, all layers' steps of that kind after one another; then all steps in order. `--sweep`
changes one number of one kind's row of the tuning table after the other and keeps what makes the
whole step faster. The share is that of `--peak` terabytes a second.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import Any

import numpy as np

from gguf_run.cuda import tuning
from gguf_run.cuda.backend import CudaBackend
from gguf_run.cuda.device import Buffer, Device, Module
from gguf_run.cuda.lowering import LOWERINGS, Call, Lowering
from gguf_run.cuda.select import open_device
from gguf_run.cuda.source import KernelSource
from gguf_run.cuda.weights import resident_bytes
from gguf_run.graph import F32, AttentionParams, Graph, Kind, RopeMode, RopeParams, Tensor
from gguf_run.kv_cache import PAGE_SIZE, pages_for
from gguf_run.plan import Step
from gguf_run.quants import QuantType, quant_type

REPLAYS = 15
NOISE_BYTES = 32 << 20


@dataclass(frozen=True, slots=True)
class Shape:
    """A dense decoder: layers, embedding, feed-forward, heads, KV heads, head size, vocabulary."""

    n_layer: int
    n_embd: int
    n_ff: int
    n_head: int
    n_kv: int
    head: int
    n_vocab: int
    head_norms: bool = False
    biases: bool = False


SHAPES = {
    "tiny": Shape(2, 256, 512, 4, 2, 64, 512, head_norms=True),
    "qwen2.5-0.5b": Shape(24, 896, 4864, 14, 2, 64, 151936, biases=True),
    "qwen3-0.6b": Shape(28, 1024, 3072, 16, 8, 128, 151936, True),
    "llama-1b": Shape(16, 2048, 8192, 32, 8, 64, 128256),
    "qwen3-4b": Shape(36, 2560, 9728, 32, 8, 128, 151936, True),
    "llama-8b": Shape(32, 4096, 14336, 32, 8, 128, 128256),
}


class Model:
    """The graph of one token at `depth` tokens, as the architectures build it."""

    def __init__(self, shape: Shape, dtype: str, cache: str, depth: int) -> None:
        self.s, self.dtype, self.cache = shape, quant_type(dtype), quant_type(cache)
        # Files of 4-bit types keep the table in six bits.
        self.table = quant_type("Q6_K" if dtype in ("Q4_0", "Q4_K") else dtype)
        self.g = g = Graph()
        self.positions, self.slots = g.input("positions", (1,)), g.input("slots", (1,))
        self.n_page = pages_for(depth + 1)
        self.block_table = g.input("block_table", (1, self.n_page))
        self.seq_ids = g.input("seq_ids", (1,))
        table = g.weight("table", (shape.n_vocab, shape.n_embd), self.table)
        x = g.get_rows(table, g.input("tokens", (1,)))
        for i in range(shape.n_layer):
            x = self._layer(i, x)
        logits = g.mul_mat(table, self._norm("norm", x))
        g.output(g.argmax(logits))

    def _weight(self, name: str, *shape: int, dtype: QuantType = F32) -> Tensor:
        return self.g.weight(name, shape, dtype)

    def _norm(self, name: str, x: Tensor) -> Tensor:
        return self.g.mul(self.g.rms_norm(x, 1e-6), self._weight(name, x.shape[-1]))

    def _linear(self, name: str, x: Tensor, n_out: int, bias: bool = False) -> Tensor:
        y = self.g.mul_mat(self._weight(name, n_out, x.shape[1], dtype=self.dtype), x)
        return self.g.add(y, self._weight(f"{name}.bias", n_out)) if bias else y

    def _heads(self, name: str, x: Tensor, norm: bool) -> Tensor:
        s = self.s
        heads = self.g.reshape(x, 1, x.shape[1] // s.head, s.head)
        return self._norm(name, heads) if norm else heads

    def _layer(self, i: int, x: Tensor) -> Tensor:
        s, g = self.s, self.g
        h = self._norm(f"{i}.attn_norm", x)
        q, k, v = (
            self._linear(f"{i}.{name}", h, n * s.head, s.biases)
            for name, n in (("q", s.n_head), ("k", s.n_kv), ("v", s.n_kv))
        )
        rope = RopeParams(RopeMode.NEOX, s.head, 1e6)
        q, k, v = (
            self._heads(f"{i}.{name}_norm", t, s.head_norms and name != "v")
            for name, t in (("q", q), ("k", k), ("v", v))
        )
        q, k = g.rope(q, self.positions, rope), g.rope(k, self.positions, rope)
        shape = (self.n_page, s.n_kv, PAGE_SIZE, s.head)
        keys = g.set_rows(g.cache(f"{i}.k_cache", shape, self.cache), k, self.slots)
        values = g.set_rows(g.cache(f"{i}.v_cache", shape, self.cache), v, self.slots)
        places = (self.positions, self.seq_ids, self.block_table)
        found = g.flash_attn_ext(q, keys, values, *places, AttentionParams(s.head**-0.5))
        x = g.add(x, self._linear(f"{i}.o", g.reshape(found, 1, s.n_head * s.head), s.n_embd))
        h = self._norm(f"{i}.ffn_norm", x)
        both = g.glu("swiglu", *(self._linear(f"{i}.{n}", h, s.n_ff) for n in ("gate", "up")))
        return g.add(x, self._linear(f"{i}.down", both, s.n_embd))


class Bench:
    """A plan on random memory; `launches` are made anew for each choice of the tuning table."""

    def __init__(self, device: Device, model: Model, depth: int, fuse: bool) -> None:
        self.device = device
        self.backend = CudaBackend(None, device)  # type: ignore[arg-type]  # plans read no file
        self.model = model
        self.modules: dict[KernelSource, Module] = {}
        self.leaves = self._memory(model.g, depth)
        self.plan = self.backend.plan(model.g, fuse)
        self.arena = device.alloc(self.plan.arena_bytes)

    def _memory(self, g: Graph, depth: int) -> dict[Tensor, Buffer]:
        rng = np.random.default_rng(0)
        noise = self.device.alloc(NOISE_BYTES)
        self.device.upload(noise, rng.integers(0, 256, NOISE_BYTES, dtype=np.uint8) & 0x3B)
        inputs = {
            "positions": [depth],
            "slots": [depth],
            "seq_ids": [0],
            "tokens": [1],
            "block_table": np.arange(self.model.n_page),
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
        n_bytes = sum(_weight_bytes(step) for step, _ in steps) / n
        rate = n_bytes / us / 1e6
        row = {"step": kind, "steps": len(steps), "kernels": len(launches), "us": f"{us:.2f}"}
        row |= {"TB_per_s": f"{rate:.3f}", "share": f"{rate / peak:.3f}"}
        rows.append({**labels, **row})
    return rows


def _weight_bytes(step: Step) -> int:
    """Bytes of the weights and of the cache that a step reads."""
    if step.parts[0].op == "get_rows":
        return 0
    found = sum(resident_bytes(s) for s in step.inputs if s.kind is Kind.WEIGHT)
    return found + sum(s.n_bytes for s in step.inputs if s.base.kind is Kind.CACHE)


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
        "brief": (64, 128, 256, 384, 768),
        "per_sm": (1, 2, 4),
        "late_trigger": (False, True),
    },
}


def sweep(bench: Bench, labels: dict[str, Any], rounds: int) -> list[dict[str, Any]]:
    """Change one number at a time, keep it where the whole step gets faster by 0.2%."""
    generation = tuning.generation(bench.device)
    used = {step.op for step in bench.plan.steps}
    keys = [("STREAMS", key) for key in tuning.STREAMS if key[0] == generation and key[1] in used]
    if "attn_decode" in used:
        keys.append(("ATTENTION", generation))
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
    parser.add_argument("--unfused", action="store_true")
    parser.add_argument("--generic", action="store_true", help="the kernels of older GPUs")
    parser.add_argument("--sweep", type=int, default=0, metavar="ROUNDS")
    parser.add_argument("--sweep-csv", help="where every try goes")
    parser.add_argument("--peak", type=float, default=4.53, help="read bandwidth in TB/s")
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args()
    tried = []
    with open_device(options.device) as device:
        if options.generic:
            tuning.generation = lambda _: tuning.GENERIC
        for name in options.models.split(","):
            for dtype in options.types.split(","):
                for depth in map(int, options.depths.split(",")):
                    model = Model(SHAPES[name], dtype, options.cache, depth)
                    bench = Bench(device, model, depth, not options.unfused)
                    labels = {"model": name, "type": dtype, "depth": depth}
                    if options.sweep:
                        tried += sweep(bench, labels, options.sweep)
                    write(report(bench, labels, options.peak), None)
                    sys.stdout.flush()
                    del bench
    if options.sweep_csv:
        write(tried, options.sweep_csv)


if __name__ == "__main__":
    main()
