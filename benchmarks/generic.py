"""Speed with the kernels of older GPUs, on a GPU of today, beside llama.cpp's with its own best.

    python benchmarks/generic.py --model qwen3-4b:Q4_0 --model llama-8b:Q4_0

The device says that it is of an earlier generation, with its shared memory and without what is this
architecture's alone, so that all wrappers choose the kernels that users of such a GPU get; memory
and tensor cores stay those of this one.
Models are shapes with random weights.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from types import MappingProxyType

from gguf_run.bench import Workload, bench
from gguf_run.cuda import select
from gguf_run.cuda.capabilities import SHARED_BYTES
from gguf_run.cuda.device import Device
from gguf_run.model import Model
from gguf_run.random_model import random_model

PEER: Mapping[str, tuple[int, int, int]] = MappingProxyType(
    {
        "qwen3-0.6b:Q4_0": (854, 41500, 47000),
        "qwen3-4b:Q4_0": (387, 15600, 16600),
        "qwen3-4b:Q4_K": (355, 13900, 14500),
        "qwen3-4b:Q8_0": (307, 15900, 16600),
        "qwen3-4b:BF16": (277, 34700, 36800),
        "llama-1b:BF16": (797, 88500, 106000),
        "llama-8b:Q4_0": (339, 11000, 11600),
        "qwen3-30b-a3b:Q4_0": (335, 11400, 11900),
    }
)
"""tg128, pp512 and pp2048 of llama-bench on an H200, same shapes and types."""
WORK = (Workload(n_gen=128), Workload(n_prompt=512), Workload(n_prompt=2048))


def older(device: Device, capability: int) -> Device:
    """The device, as if it were of this compute capability (times ten)."""
    device.capability, device.max_shared = capability, SHARED_BYTES[capability]
    device.arch = device.arch.removesuffix("a")
    return device


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", dest="models", action="append", help="SHAPE:TYPE")
    parser.add_argument("--capability", type=int, default=89, choices=sorted(SHARED_BYTES))
    parser.add_argument("--repetitions", type=int, default=3)
    options = parser.parse_args()
    open_device = select.open_device
    select.open_device = lambda name, debug=False: older(
        open_device(name, debug), options.capability
    )
    print("model,test,tokens_per_second,llama_cpp,ratio", flush=True)
    for name in options.models or PEER:
        shape, _, dtype = name.partition(":")
        with Model(random_model(shape, dtype), "cuda", n_ctx=2048) as model:
            rows = bench(model, WORK, options.repetitions)
        for row, peer in zip(rows, PEER.get(name, (0, 0, 0)), strict=True):
            ratio = f"{row.avg_ts / peer:.2f}" if peer else ""
            print(f"{name},{row.test},{row.avg_ts:.0f},{peer},{ratio}", flush=True)


if __name__ == "__main__":
    main()
