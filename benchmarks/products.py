"""Speed of the matrix products alone, by type, shape and tokens.

    python benchmarks/products.py --types Q4_0,Q4_K --tokens 1,8,512 --shapes 2560x9728,6144x2560

Many copies of a weight, together larger than any cache, are multiplied in one captured graph, by
the kernels that the backend would take. `read` counts the bytes of the weight, `speed` two
operations a weight and token.
"""

from __future__ import annotations

import argparse
from statistics import median

import numpy as np

import gguf_run.cuda.ops as _ops  # noqa: F401  (registers the wrappers)
from gguf_run.cuda.activations import activations_as_products_take_them
from gguf_run.cuda.device import Device
from gguf_run.cuda.lowering import LOWERINGS, WORKSPACES, Lowering
from gguf_run.cuda.select import open_device
from gguf_run.cuda.weights import resident_bytes
from gguf_run.graph import F32, Graph, Kind, Tensor
from gguf_run.plan import make_plan
from gguf_run.quants import quant_type

CACHE_BYTES = 256 << 20
"""Several times the largest L2 of today."""
SHAPES = "2560x4096,6144x2560,9728x2560,2560x9728,4096x14336,151936x2560"
REPLAYS = 20


def microseconds(device: Device, dtype: str, n_tok: int, n_out: int, n_in: int) -> float:
    """Median time of a product, the cast of its activations left out."""
    w = Graph().weight("w", (n_out, n_in), quant_type(dtype))
    n_copy = max(4, min(64, -(-CACHE_BYTES // resident_bytes(w))))
    g = Graph()
    x = g.input("x", (n_tok, n_in), F32)
    for i in range(n_copy):
        g.output(g.mul_mat(g.weight(f"w{i}", (n_out, n_in), quant_type(dtype)), x))
    plan = make_plan(
        activations_as_products_take_them(g, device.capability),
        (),
        lambda op, parts: WORKSPACES[op](device, parts) if op in WORKSPACES else 0,
    )
    leaves = {leaf: device.alloc(_bytes(leaf)) for leaf in plan.leaves}
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, max(map(_bytes, leaves)), dtype=np.uint8) & 0x3B
    for leaf, buffer in leaves.items():
        device.upload(buffer, noise[: _bytes(leaf)])
    low = Lowering(device, device.alloc(plan.arena_bytes), plan.offsets, leaves, [])
    starts = []
    for step in plan.steps:
        starts.append(len(low.calls))
        LOWERINGS[step.op](low, step)
    first = next(s for s, step in zip(starts, plan.steps, strict=True) if step.op == "mul_mat")
    modules = {m: device.module(m) for m in dict.fromkeys(c.module for c in low.calls)}

    def launch(start: int, stop: int | None) -> None:
        for c in low.calls[start:stop]:
            kernel = modules[c.module][c.kernel]
            device.launch(kernel, c.grid, c.block, c.args, shared=c.shared)

    launch(0, first)
    with device.capture() as graph:
        launch(first, None)
    times = []
    for _ in range(REPLAYS):
        before = device.record()
        graph.replay()
        after = device.record()
        device.synchronize()
        times.append(after.elapsed_ms(before))
    return median(times[REPLAYS // 4 :]) * 1e3 / n_copy


def _bytes(leaf: Tensor) -> int:
    return resident_bytes(leaf) if leaf.kind is Kind.WEIGHT else leaf.n_bytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--types", default="Q4_0,Q8_0,Q4_K,Q6_K,F16")
    parser.add_argument("--tokens", default="1,2,8,32,512")
    parser.add_argument("--shapes", default=SHAPES, help="n_out x n_in")
    options = parser.parse_args()
    print("| type | shape | tokens | us | read TB/s | speed TFLOP/s |\n|---|---|---|---|---|---|")
    with open_device("cuda") as device:
        for dtype in options.types.split(","):
            for shape in options.shapes.split(","):
                n_out, n_in = map(int, shape.split("x"))
                for n_tok in map(int, options.tokens.split(",")):
                    us = microseconds(device, dtype, n_tok, n_out, n_in)
                    read = n_out * quant_type(dtype).row_bytes(n_in) / us / 1e6
                    flop = 2 * n_tok * n_out * n_in / us / 1e6
                    print(f"| {dtype} | {shape} | {n_tok} | {us:.2f} | {read:.2f} | {flop:.1f} |")


if __name__ == "__main__":
    main()
