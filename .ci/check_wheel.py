"""Check what is in the wheel: everything that the package needs at run time, and nothing else."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

DEMO = "gguf_run/models/demo.gguf"
"""What the wheel has from elsewhere in the checkout."""
MAX_BYTES = 8 << 20


def sources() -> set[str]:
    """Every file of the package in the checkout: code, kernels, the emulator's headers."""
    files = (p for p in Path("gguf_run").rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    return {p.as_posix() for p in files}


def main(wheel: str) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    needed = sources() | {DEMO}
    if missing := needed - names:
        sys.exit(f"{wheel}: missing {sorted(missing)}")
    if stray := {n for n in names - needed if not n.startswith("gguf_run-")}:
        sys.exit(f"{wheel}: does not belong there: {sorted(stray)}")
    size = Path(wheel).stat().st_size
    if size > MAX_BYTES:
        sys.exit(f"{wheel}: {size:,} bytes, more than {MAX_BYTES:,}")
    print(f"{Path(wheel).name}: {len(names)} files, {size:,} bytes")


if __name__ == "__main__":
    main(sys.argv[1])
