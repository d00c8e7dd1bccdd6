"""How fast a file opens, beside gguf.GGUFReader: python benchmarks/open_header.py FILE

Prints seconds of `open_gguf` (best of five) and of `GGUFReader` (once: it takes seconds where a
vocabulary is large), both as processor time, and how many times faster the first is.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import gguf

from gguf_run.loader import open_gguf


def seconds(open_file: Callable[[], object], repeats: int) -> float:
    """The least processor time of ``repeats`` openings."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        open_file()
        times.append(time.process_time() - start)
    return min(times)


def compare(path: Path) -> tuple[float, float]:
    """Seconds that `open_gguf` and `gguf.GGUFReader` take to open ``path``."""
    return seconds(lambda: open_gguf(path), 5), seconds(lambda: gguf.GGUFReader(path), 1)


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: python benchmarks/open_header.py FILE")
    ours, theirs = compare(Path(sys.argv[1]))
    print(f"open_gguf        {ours:8.4f} s")
    print(f"gguf.GGUFReader  {theirs:8.4f} s")
    print(f"ratio            {theirs / ours:8.1f}")


if __name__ == "__main__":
    main()
