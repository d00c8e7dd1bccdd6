"""The command line, run as a user runs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

DEMO_FILE = Path(__file__).parents[1] / "models" / "demo.gguf"
DEMO = ("--demo", "-p", "One day", "-n", 12, "--temp", 0, "--device", "cpu")


def run(*args: object, stdin: str | None = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gguf_run.cli", *map(str, args)]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=300)
