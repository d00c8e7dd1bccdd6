"""Everything that is measured on a GPU machine, in one run: tests, sanitizers, loading, speed.

    python benchmarks/gpu_session.py tests sanitize bench profile --model qwen3-4b:Q4_0

Each part writes a table `<gpu>-<part>.csv` to --out; every row says on which GPU, driver, CuPy and
commit it was measured. `--model` names files, or for `bench` and `profile` shapes with random
weights (`qwen3-4b:Q4_0`): speed does not depend on the values of the weights.
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from itertools import product
from pathlib import Path
from time import perf_counter
from typing import Any

import cupy  # noqa: TID251

from gguf_run import Model
from gguf_run.bench import Workload, bench
from gguf_run.bench_tables import as_markdown
from gguf_run.cuda.select import open_device
from gguf_run.cuda.upload import Transfer, Uploader
from gguf_run.loader import GGUFFile, open_gguf
from gguf_run.loader_bytes import file_reader
from gguf_run.profile import Timed, as_text, profile
from gguf_run.random_model import random_model

ROOT = Path(__file__).resolve().parents[1]
N_PROMPT, N_GEN, DEPTH = (512, 2048), 128, 8192
LOADS = 3
READERS, SLOT_BYTES = (1, 2, 4, 8, 12), (1 << 20, 2 << 20, 4 << 20, 8 << 20)
SANITIZERS = ("memcheck", "racecheck")
COUNTS = ("tests", "failures", "errors", "skipped")
SHOWN = 6000
"""Characters of what a failing run says."""


def machine(commit: str | None) -> dict[str, str]:
    """What every row says of where it was measured."""
    runtime = cupy.cuda.runtime
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    return {
        "gpu": runtime.getDeviceProperties(0)["name"].decode(),
        "driver": subprocess.check_output(query, text=True).splitlines()[0].strip(),
        "cuda": str(runtime.runtimeGetVersion()),
        "cupy": cupy.__version__,
        "commit": commit or _head(),
    }


def _head() -> str:
    command = ["git", "rev-parse", "--short=12", "HEAD"]
    return subprocess.check_output(command, cwd=ROOT, text=True).strip()


def run_tests(
    arguments: Iterable[str], wrapper: Iterable[str] = (), gpu: str | None = None
) -> dict[str, Any]:
    """Run pytest on the GPU tests -> counts, seconds; the end of a failing run is printed."""
    environment = dict(os.environ)
    if gpu is not None:
        environment["CUDA_VISIBLE_DEVICES"] = gpu
    with tempfile.TemporaryDirectory() as folder:
        chosen, report = Path(folder) / "arguments", Path(folder) / "report.xml"
        chosen.write_text("\n".join(arguments))
        command = [*wrapper, sys.executable, "-m", "pytest", "-q", "-m", "gpu", f"@{chosen}"]
        command.append(f"--junitxml={report}")
        done = subprocess.run(
            command, cwd=ROOT, env=environment, check=False, text=True, capture_output=True
        )
        if done.returncode:
            print(done.stdout[-SHOWN:], done.stderr[-SHOWN:], sep="\n", flush=True)
        if not report.exists():
            return {"exit_code": done.returncode}
        suite = next(ElementTree.parse(report).iter("testsuite"))
    counts = {key: int(suite.get(key, 0)) for key in COUNTS}
    return {"exit_code": done.returncode, **counts, "seconds": suite.get("time", "")}


def tests() -> list[dict[str, Any]]:
    """A row a folder of tests."""
    return [{"suite": "tests/gpu", **run_tests(["tests/gpu"])}]


def sanitize(n_job: int) -> list[dict[str, Any]]:
    """The op cases under compute-sanitizer, `n_job` processes over all GPUs, a row a tool; exit
    code 99 where it found something."""
    cases = _cases("tests/gpu/test_op_cases_gpu.py")
    gpus = _gpus()
    rows = []
    for tool in SANITIZERS:
        wrapper = ["compute-sanitizer", f"--tool={tool}", "--error-exitcode=99"]
        start = perf_counter()
        with ThreadPoolExecutor(n_job) as pool:
            runs = [
                pool.submit(run_tests, cases[i::n_job], wrapper, gpus[i % len(gpus)])
                for i in range(n_job)
            ]
        found = [run.result() for run in runs]
        row = {key: sum(f.get(key, 0) for f in found) for key in COUNTS}
        worst = max((abs(f["exit_code"]) for f in found), default=0)
        seconds = f"{perf_counter() - start:.1f}"
        rows.append({"tool": tool, "exit_code": worst, **row, "seconds": seconds})
    return rows


def _gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible:
        return visible.split(",")
    return [str(i) for i in range(cupy.cuda.runtime.getDeviceCount())]


def _cases(path: str) -> list[str]:
    """The ids of a file's tests."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "--collect-only", path]
    listed = subprocess.check_output(command, cwd=ROOT, text=True)
    return [line for line in listed.splitlines() if "::" in line]


def load(models: Iterable[Path]) -> list[dict[str, Any]]:
    """Seconds until a model is ready, kernels compiled and the file in the page cache."""
    rows = []
    for path in models:
        seconds = []
        for _ in range(LOADS + 1):
            start = perf_counter()
            with Model(path, "cuda", n_ctx=4096) as model:
                seconds.append(perf_counter() - start)
                n_bytes = sum(t.n_bytes for t in model.file.tensors.values())
        best = min(seconds[1:])
        rows.append(
            {
                "model": path.name,
                "bytes": n_bytes,
                "first_seconds": f"{seconds[0]:.3f}",
                "best_seconds": f"{best:.3f}",
                "gigabytes_per_second": f"{n_bytes / best / 1e9:.2f}",
            }
        )
    return rows


def upload(models: Iterable[Path]) -> list[dict[str, Any]]:
    """Rates of files to the device by the number of readers and the size of their slots."""
    rows = []
    with open_device("cuda") as device:
        for path, n_reader, slot_bytes in product(models, READERS, SLOT_BYTES):
            target = device.alloc(path.stat().st_size)
            uploader = Uploader(device, n_reader, slot_bytes)
            seconds = []
            for _ in range(LOADS + 1):
                start = perf_counter()
                uploader.upload([Transfer(file_reader(path), 0, target)])
                device.synchronize()
                seconds.append(perf_counter() - start)
            rate = target.n_bytes / min(seconds[1:]) / 1e9
            rows.append(
                {
                    "model": path.name,
                    "readers": n_reader,
                    "slot_bytes": slot_bytes,
                    "gigabytes_per_second": f"{rate:.2f}",
                }
            )
    return rows


def opened(name: str) -> GGUFFile:
    """A file, or the shape `NAME:TYPE` with random weights."""
    if Path(name).exists():
        return open_gguf(name)
    shape, _, dtype = name.partition(":")
    return random_model(shape, dtype or "Q4_0")


def profiles(models: Iterable[str]) -> list[dict[str, Any]]:
    """A row a kind of step of a token, at a short context and at depth; the whole step's last."""
    rows = []
    for name, depth in product(models, (128, DEPTH)):
        with Model(opened(name), "cuda", n_ctx=depth + 1) as model:
            found = profile(model, 0, depth)
        print(as_text(found), flush=True)
        for kind in (*found.kinds, Timed("whole", "", 1, found.whole, found.cost)):
            row = {"model_type": found.model_type, "test": found.test, "step": kind.name}
            row |= {"count": kind.count, "us": f"{kind.seconds * 1e6:.2f}"}
            rows.append({**row, **asdict(kind.cost)})
    return rows


def speed(models: Iterable[str]) -> list[dict[str, Any]]:
    """Prompts, generation, and generation at depth, in llama-bench's fields."""
    work = [*(Workload(n_prompt=n) for n in N_PROMPT), Workload(n_gen=N_GEN)]
    work.append(Workload(n_gen=N_GEN, n_depth=DEPTH))
    rows = []
    for name in models:
        n_ctx = max(w.n_tok for w in work)
        with Model(opened(name), "cuda", n_ctx=n_ctx, n_batch=max(N_PROMPT)) as model:
            found = bench(model, work)
        print(as_markdown(found), flush=True)
        rows += [{k: v for k, v in asdict(row).items() if k != "samples_ns"} for row in found]
    return rows


def write(rows: list[dict[str, Any]], where: Mapping[str, str], path: Path) -> None:
    """A table of the rows, each with the machine it was measured on."""
    fields = list(dict.fromkeys(key for row in rows for key in (*row, *where)))
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fields, lineterminator="\n")
        writer.writeheader()
        writer.writerows({**row, **where} for row in rows)
    print(path.read_text(), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "parts", nargs="+", choices=("tests", "sanitize", "upload", "load", "bench", "profile")
    )
    parser.add_argument("--model", dest="models", action="append", default=[])
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results")
    parser.add_argument("--commit", help="where the checkout has no .git")
    parser.add_argument("--jobs", type=int, default=8, help="processes of sanitize")
    options = parser.parse_args()
    where = machine(options.commit)
    name = where["gpu"].removeprefix("NVIDIA ").replace(" ", "-").lower()
    parts = {
        "tests": tests,
        "sanitize": lambda: sanitize(options.jobs),
        "upload": lambda: upload(map(Path, options.models)),
        "load": lambda: load(map(Path, options.models)),
        "bench": lambda: speed(options.models),
        "profile": lambda: profiles(options.models),
    }
    for part in options.parts:
        write(parts[part](), where, options.out / f"{name}-{part}.csv")


if __name__ == "__main__":
    main()
