"""Speed of attention alone, by heads, cache type, tokens and depth.

    python benchmarks/attention.py --tokens 1,512 --depths 512,8192 --types F16,Q8_0

As many caches as exceed the device's own are attended to in one captured graph, merges of split
keys included. `read` counts the bytes of K and V once, `speed` the products that the mask leaves.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from statistics import median

import numpy as np

import gguf_run.cuda.ops as _ops  # noqa: F401  (registers the wrappers)
from gguf_run.cuda.device import Device
from gguf_run.cuda.lowering import LOWERINGS, WORKSPACES, Lowering
from gguf_run.cuda.select import open_device
from gguf_run.graph import F32, AttentionParams, Graph, Tensor
from gguf_run.kv_cache import PAGE_SIZE, pages_for
from gguf_run.plan import make_plan
from gguf_run.quants import QuantType, quant_type

CACHE_BYTES = 256 << 20
"""Several times the largest L2 of today."""
REPLAYS = 20


@dataclass(frozen=True, slots=True)
class Work:
    """`n_tok` new tokens that end a sequence of `depth` tokens."""

    n_head: int
    n_head_kv: int
    size: int
    dtype: QuantType
    n_tok: int
    depth: int

    @property
    def n_bytes(self) -> int:
        """Of K and V."""
        return 2 * self.depth * self.n_head_kv * self.dtype.row_bytes(self.size)

    @property
    def n_flop(self) -> int:
        """Of q.k and of the weighted sums, over the keys that each token sees."""
        n_seen = self.n_tok * self.depth - self.n_tok * (self.n_tok - 1) // 2
        return 4 * self.n_head * self.size * n_seen

    def attention(self, g: Graph, i: int) -> Tensor:
        """The attention to the i-th pair of caches."""
        n_page = pages_for(self.depth)
        shape = (n_page, self.n_head_kv, PAGE_SIZE, self.size)
        return g.flash_attn_ext(
            g.input("q", (self.n_tok, self.n_head, self.size), F32),
            g.cache(f"k{i}", shape, self.dtype),
            g.cache(f"v{i}", shape, self.dtype),
            g.input("positions", (self.n_tok,)),
            g.input("seq_ids", (self.n_tok,)),
            g.input("block_table", (1, n_page)),
            AttentionParams(self.size**-0.5),
        )

    def data(self, leaf: Tensor, rng: np.random.Generator) -> np.ndarray:
        """Bytes of a leaf: queries and caches are noise."""
        if leaf.name == "positions":
            return np.arange(self.depth - self.n_tok, self.depth, dtype=np.int32)
        if leaf.name == "seq_ids":
            return np.zeros(self.n_tok, np.int32)
        if leaf.name == "block_table":
            return rng.permutation(pages_for(self.depth)).astype(np.int32)
        if leaf.name == "q":
            return rng.standard_normal(leaf.shape, np.float32)
        return rng.integers(0, 256, leaf.n_bytes, dtype=np.uint8) & 0x3B


def microseconds(device: Device, work: Work) -> float:
    """Median time of one attention."""
    n_copy = max(4, min(64, -(-CACHE_BYTES // work.n_bytes)))
    g = Graph()
    for i in range(n_copy):
        g.output(work.attention(g, i))
    plan = make_plan(
        g, (), lambda op, parts: WORKSPACES[op](device, parts) if op in WORKSPACES else 0
    )
    rng = np.random.default_rng(0)
    leaves = {leaf: device.alloc(leaf.n_bytes) for leaf in plan.leaves}
    for leaf, buffer in leaves.items():
        device.upload(buffer, work.data(leaf, rng))
    low = Lowering(device, device.alloc(plan.arena_bytes), plan.offsets, leaves, [])
    for step in plan.steps:
        LOWERINGS[step.op](low, step)
    modules = {m: device.module(m) for m in dict.fromkeys(c.module for c in low.calls)}
    with device.capture() as graph:
        for c in low.calls:
            kernel = modules[c.module][c.kernel]
            device.launch(kernel, c.grid, c.block, c.args, shared=c.shared)
    times = []
    for _ in range(REPLAYS):
        before = device.record()
        graph.replay()
        after = device.record()
        device.synchronize()
        times.append(after.elapsed_ms(before))
    return median(times[REPLAYS // 4 :]) * 1e3 / n_copy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--heads", default="32x8x128", help="heads x KV heads x size, ...")
    parser.add_argument("--types", default="F16,Q8_0")
    parser.add_argument("--tokens", default="1,8,512")
    parser.add_argument("--depths", default="512,8192,32768")
    options = parser.parse_args()
    print("| heads | cache | tokens | depth | us | read TB/s | speed TFLOP/s |")
    print("|---|---|---|---|---|---|---|")
    with open_device("cuda") as device:
        for heads in options.heads.split(","):
            for dtype in options.types.split(","):
                for n_tok in map(int, options.tokens.split(",")):
                    for depth in map(int, options.depths.split(",")):
                        if n_tok > depth:
                            continue
                        sizes = map(int, heads.split("x"))
                        work = Work(*sizes, quant_type(dtype), n_tok, depth)
                        us = microseconds(device, work)
                        read, speed = work.n_bytes / us / 1e6, work.n_flop / us / 1e6
                        print(
                            f"| {heads} | {dtype} | {n_tok} | {depth} | {us:.2f} | {read:.2f} |"
                            f" {speed:.1f} |"
                        )


if __name__ == "__main__":
    main()
