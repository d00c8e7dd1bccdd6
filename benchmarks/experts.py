"""Time of each kind of step of a mixture of experts, and of whole layers, on random weights.

    python benchmarks/experts.py --types Q4_0 --tokens 1,8,512,2048

Layers of Qwen3-30B-A3B's shape, norm and router included, attention left out. Weights are made on
the device; logits are random, so that every expert gets about as many tokens. All steps are timed
in order, then each kind alone, all layers' steps of that kind after one another. `TB_per_s` counts
the weights that a step reads, `TFLOP_per_s` two operations a weight and token.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
from decode_steps import kind_of

from gguf_run.cuda.backend import CudaBackend
from gguf_run.cuda.device import Buffer, Device
from gguf_run.cuda.lowering import LOWERINGS, Call, Lowering
from gguf_run.cuda.select import open_device
from gguf_run.cuda.weights import resident_bytes
from gguf_run.graph import F32, Graph, Kind, RouterParams, Tensor
from gguf_run.plan import ARENA_ALIGNMENT, Step
from gguf_run.quants import QuantType, quant_type

REPLAYS = 15
NOISE_BYTES = 32 << 20


@dataclass(frozen=True, slots=True)
class Shape:
    """Layers, embedding, feed-forward of an expert, experts, experts used."""

    n_layer: int
    n_embd: int
    n_ff: int
    n_expert: int
    n_used: int


SHAPES = {
    "tiny": Shape(2, 64, 96, 8, 3),
    "qwen3-30b-a3b": Shape(6, 2048, 768, 128, 8),
    "mixtral-8x7b": Shape(2, 4096, 14336, 8, 2),
}


def layers(shape: Shape, dtype: QuantType, n_tok: int) -> Graph:
    """x + experts(norm(x)), layer after layer."""
    g, s = Graph(), shape
    x = g.input("x", (n_tok, s.n_embd), F32)
    logits = g.input("logits", (n_tok, s.n_expert), F32)
    params = RouterParams(s.n_used)
    for i in range(s.n_layer):
        normed = g.mul(g.rms_norm(x, 1e-6), g.weight(f"{i}.norm", (s.n_embd,), F32))
        g.output(g.mul_mat(g.weight(f"{i}.router", (s.n_expert, s.n_embd), F32), normed))
        ids = g.moe_ids(logits, params)
        weights = g.moe_weights(logits, ids, params)
        rows = g.reshape(normed, n_tok, 1, s.n_embd)
        gate, up = (
            g.mul_mat_id(g.weight(f"{i}.{n}", (s.n_expert, s.n_ff, s.n_embd), dtype), rows, ids)
            for n in ("gate", "up")
        )
        down = g.weight(f"{i}.down", (s.n_expert, s.n_embd, s.n_ff), dtype)
        found = g.mul_mat_id(down, g.glu("swiglu", gate, up), ids)
        x = g.add(x, g.moe_sum(found, weights))
    g.output(x)
    return g


class Bench:
    """A plan on random memory."""

    def __init__(self, device: Device, g: Graph, fuse: bool) -> None:
        self.device = device
        self.plan = CudaBackend(None, device).plan(g, fuse)  # type: ignore[arg-type]
        self.leaves = self._memory(g)
        low = Lowering(device, *self._arena(), self.leaves, [])
        self.calls: list[tuple[Step, Sequence[Call]]] = []
        for step in self.plan.steps:
            start = len(low.calls)
            LOWERINGS[step.op](low, step)
            self.calls.append((step, low.calls[start:]))
        sources = list(dict.fromkeys(c.module for c in low.calls))
        self.modules = dict(zip(sources, device.modules(sources), strict=True))

    def _arena(self) -> tuple[Buffer, dict[Tensor, int]]:
        """Results side by side, workspaces ahead of them: a step alone finds what it reads."""
        offsets, at = {}, self.plan.arena_bytes
        for t in self.plan.offsets:
            offsets[t] = at
            at += -(-t.n_bytes // ARENA_ALIGNMENT) * ARENA_ALIGNMENT
        return self.device.alloc(at), offsets

    def _memory(self, g: Graph) -> dict[Tensor, Buffer]:
        rng = np.random.default_rng(0)
        noise = self.device.alloc(NOISE_BYTES)
        self.device.upload(noise, rng.integers(0, 256, NOISE_BYTES, dtype=np.uint8) & 0x2B)
        leaves = {}
        for leaf in g.leaves:
            n_bytes = resident_bytes(leaf) if leaf.kind is Kind.WEIGHT else leaf.n_bytes
            leaves[leaf] = buffer = self.device.alloc(n_bytes)
            if leaf.kind is Kind.INPUT:
                self.device.upload(buffer, rng.standard_normal(leaf.shape).astype(np.float32))
                continue
            for start in range(0, n_bytes, NOISE_BYTES):
                size = min(NOISE_BYTES, n_bytes - start)
                self.device.copy(buffer.at(start, size), noise.at(0, size))
        self.device.synchronize()
        return leaves

    def microseconds(self, calls: Sequence[Call]) -> float:
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


def traffic(steps: Sequence[Step]) -> tuple[int, int]:
    """Bytes of weights that steps read at least, and operations."""
    n_bytes = n_op = 0
    for part in (p for step in steps for p in step.parts):
        if part.op == "mul_mat_id":
            w, ids = part.srcs[0], part.srcs[2]
            n_bytes += min(w.shape[0], ids.n_elements) * resident_bytes(w) // w.shape[0]
            n_op += 2 * ids.n_elements * w.shape[1] * w.shape[2]
        elif part.op == "mul_mat":
            n_bytes += resident_bytes(part.srcs[0])
            n_op += 2 * part.shape[0] * part.srcs[0].n_elements
    return n_bytes, n_op


def report(bench: Bench, n_layer: int, labels: dict[str, Any]) -> list[dict[str, Any]]:
    """A row for a whole layer, which fills the memory, then one a kind of step."""
    kinds: dict[str, list[tuple[Step, Sequence[Call]]]] = {}
    for step, of_step in bench.calls:
        kinds.setdefault(kind_of(step), []).append((step, of_step))
    rows = []
    for kind, steps in [("whole layer", bench.calls), *kinds.items()]:
        n = n_layer if kind == "whole layer" else len(steps)
        us = bench.microseconds([c for _, of_step in steps for c in of_step]) / n
        n_bytes, n_op = traffic([step for step, _ in steps])
        launches = sum(len(of_step) for _, of_step in steps)
        row = {"step": kind, "launches": f"{launches / n:g}", "us": f"{us:.2f}"}
        row |= {"TB_per_s": f"{n_bytes / n / us / 1e6:.3f}"}
        row |= {"TFLOP_per_s": f"{n_op / n / us / 1e6:.1f}"}
        rows.append({**labels, **row})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--shapes", default="qwen3-30b-a3b")
    parser.add_argument("--types", default="Q4_0")
    parser.add_argument("--tokens", default="1,8,512,2048")
    parser.add_argument("--unfused", action="store_true")
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args()
    with open_device(options.device) as device:
        for name in options.shapes.split(","):
            for dtype in options.types.split(","):
                for n_tok in map(int, options.tokens.split(",")):
                    shape = SHAPES[name]
                    bench = Bench(
                        device, layers(shape, quant_type(dtype), n_tok), not options.unfused
                    )
                    labels = {"shape": name, "type": dtype, "tokens": n_tok}
                    rows = report(bench, shape.n_layer, labels)
                    writer = csv.DictWriter(sys.stdout, rows[0], lineterminator="\n")
                    writer.writeheader()
                    writer.writerows(rows)
                    sys.stdout.flush()
                    del bench


if __name__ == "__main__":
    main()
