"""Check what is in the wheel: everything that the package needs at run time, and nothing else."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

NEEDED = (
    "gguf_run/cli.py",
    "gguf_run/py.typed",
    "gguf_run/models/demo.gguf",
    "gguf_run/arch/llama.py",
)
MAX_BYTES = 8 << 20


def sources() -> set[str]:
    """Every file of the package in the checkout that must be in the wheel."""
    kinds = {".py", ".cu", ".cuh", ".h", ".cpp", ".typed"}
    return {str(p) for p in Path("gguf_run").rglob("*") if p.suffix in kinds}


def main(wheel: str) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    missing = (sources() | set(NEEDED)) - names
    if missing:
        sys.exit(f"{wheel}: missing {sorted(missing)}")
    foreign = {n for n in names if not n.startswith(("gguf_run/", "gguf_run-"))}
    stray = {n for n in names if n.endswith((".so", ".cubin", ".pyc"))}
    if foreign or stray:
        sys.exit(f"{wheel}: does not belong there: {sorted(foreign | stray)}")
    size = Path(wheel).stat().st_size
    if size > MAX_BYTES:
        sys.exit(f"{wheel}: {size:,} bytes, more than {MAX_BYTES:,}")
    print(f"{Path(wheel).name}: {len(names)} files, {size:,} bytes")


if __name__ == "__main__":
    main(sys.argv[1])
