"""Seconds from the start of a process to its first token, and where they go.

    python benchmarks/start_time.py llama-8b-Q4_0.gguf --runs 5

Each run is a new process, `gguf-run run MODEL -p PROMPT -n 1`, as a user starts it; its file should
be in the page cache and its kernels compiled, which the first run (shown as such) sees to. Then the
same with a clock in the functions that take time: when each begins and ends, in milliseconds since
the process was started, and in which thread.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

SCRIPT = "import sys; sys.path.remove(''); from gguf_run.cli import main; main()"
"""What the installed `gguf-run` is, which doesn't look for modules where it is called, either."""
PROMPT = "The history of computing began"

TIMED = (
    ("gguf_run.cli", "_run"),
    ("gguf_run.model", "Model.__init__"),
    ("gguf_run.model", "open_gguf"),
    ("gguf_run.cuda.select", "is_available"),
    ("gguf_run.cuda.select", "open_device"),
    ("gguf_run.cuda.cupy_device", "CupyDevice.__init__"),
    ("gguf_run.cuda.cupy_device", "find_nvrtc"),
    ("gguf_run.cuda.cupy_device", "CupyDevice._load"),
    ("gguf_run.cuda.compile", "KernelCompiler.cubins"),
    ("gguf_run.cuda.backend", "CudaBackend.load"),
    ("gguf_run.cuda.backend", "CudaBackend._compile"),
    ("gguf_run.cuda.backend", "CudaBackend._lowered"),
    ("gguf_run.cuda.backend", "CudaBackend.prepare"),
    ("gguf_run.cuda.wake", "_wake"),
    ("gguf_run.cuda.weights", "DeviceWeights._fill"),
    ("gguf_run.cuda.upload", "Uploader.upload"),
    ("gguf_run.cuda.executable", "CudaExecutable.__call__"),
    ("gguf_run.engine", "Engine.plan"),
    ("gguf_run.engine", "Engine.warm_up"),
    ("gguf_run.engine", "Engine.evaluate"),
    ("gguf_run.tokenizer.tokenizer", "Tokenizer.from_gguf"),
    ("gguf_run.tokenizer.tokenizer", "Tokenizer.encode"),
    ("gguf_run.tokenizer.merging", "Merges.__init__"),
    ("gguf_run.drawers", "Drawers.make"),
)
"""Functions by module."""
LEAST = 2e-3
"""Seconds of what is shown."""


def command(options: argparse.Namespace) -> list[str]:
    """What a run is, behind the interpreter."""
    return ["run", str(options.model), "-p", PROMPT, "-n", "1", "--device", options.device]


def one_run(options: argparse.Namespace) -> tuple[float, float, str]:
    """Seconds to the first byte of text, to the end of the process, and its stderr."""
    start = perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *command(options)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=False,
        bufsize=0,
    )
    assert process.stdout is not None
    process.stdout.read(1)
    first = perf_counter() - start
    said = process.communicate()[1].decode()
    if process.returncode:
        raise SystemExit(said)
    return first, perf_counter() - start, said.strip().splitlines()[-1]


# The clock, in the process that is measured


def timed(name: str, function: Callable[..., Any], spans: list[Any]) -> Callable[..., Any]:
    """`function`, with a span noted for each call."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        start = perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            spans.append((start, perf_counter(), threading.current_thread().name, name))

    return wrapper


class Watch:
    """Puts clocks into the functions of `TIMED` as their modules are imported, and times those
    imports; a finder of `sys.meta_path`."""

    def __init__(self, spans: list[Any]) -> None:
        self.spans = spans

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """The spec that other finders have, with a clock in its loader."""
        if name.partition(".")[0] not in ("gguf_run", "numpy", "cupy"):
            return None
        sys.meta_path.remove(self)
        try:
            spec = importlib.util.find_spec(name)
        finally:
            sys.meta_path.insert(0, self)
        if spec is not None and spec.loader is not None:
            run = timed(f"import {name}", spec.loader.exec_module, self.spans)
            spec.loader.exec_module = lambda module: self.clocked(run, module)
        return spec

    def clocked(self, run: Callable[[Any], None], module: Any) -> None:
        """Run a module's code, then put clocks into it."""
        run(module)
        for module_name, path in TIMED:
            *outer, name = path.split(".")
            owner = (
                functools.reduce(getattr, outer, module) if module_name == module.__name__ else 0
            )
            found = vars(owner).get(name) if owner else None
            if isinstance(found, classmethod):
                setattr(owner, name, classmethod(timed(path, found.__func__, self.spans)))
            elif found is not None:
                setattr(owner, name, timed(path, found, self.spans))


def watched(start: float, arguments: list[str]) -> None:
    """Run the command with clocks and print the spans."""
    spans: list[Any] = [(start, perf_counter(), "", "interpreter and this script")]
    sys.meta_path.insert(0, Watch(spans))
    from gguf_run import cli

    try:
        cli.main(arguments)
    except SystemExit:
        sys.stdout.flush()
    for begin, end, thread, name in sorted(spans):
        if end - begin < LEAST and not name.startswith("interp"):
            continue
        row = f"{1e3 * (begin - start):8.1f} {1e3 * (end - start):8.1f} {1e3 * (end - begin):8.1f}"
        print(f"{row}  {thread:24} {name}", file=sys.stderr)


def main() -> None:
    if sys.argv[1:2] == ["--watched"]:
        watched(float(sys.argv[2]), sys.argv[3:])
        return
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args()
    first, whole, said = one_run(options)
    print(f"first run: {first:.3f} s to the first token, {whole:.3f} s in all; {said}", flush=True)
    runs = [one_run(options) for _ in range(options.runs)]
    for seconds, whole, said in runs:
        print(f"{seconds:.3f} s to the first token, {whole:.3f} s in all; {said}")
    print(f"median: {median(run[0] for run in runs):.3f} s", flush=True)
    script = [sys.executable, __file__, "--watched", str(perf_counter()), *command(options)]
    print("     ms:      end     took  thread                   what", flush=True)
    done = subprocess.run(script, check=False, stderr=subprocess.PIPE, text=True, env=os.environ)
    print(done.stderr)


if __name__ == "__main__":
    main()
