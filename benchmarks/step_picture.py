"""Draws docs/decode_time.svg from measured times of a token's steps.

    python benchmarks/step_picture.py benchmarks/results/h200-steps.csv docs/decode_time.svg

The times are those of LOG.md, `products of one token that stream weights through shared memory`;
the least times are the bytes of the steps' weights, as in the model's file, over --peak.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

from gguf_run.picture import Part, as_svg
from gguf_run.random_model import random_model


def part(row: dict[str, str], n_bytes: int, peak: float) -> Part:
    """A kind of step: times a launch, launches a token."""
    us, count = float(row["us"]), int(row["count"])
    note = f"{us * count:.0f} us, {count} x {us:.1f}"
    if not n_bytes:
        return Part(row["step"], us * count / 1e6, None, note)
    note += f"; {n_bytes / 1e6:.0f} MB"
    return Part(row["step"], us * count / 1e6, n_bytes / peak, note)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("times", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--shape", default="qwen3-4b")
    parser.add_argument("--peak", type=float, default=4.53e12, help="bytes read a second")
    options = parser.parse_args()
    tensors = random_model(options.shape, "Q4_0").tensors.values()
    with options.times.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["model"] == options.shape]
    (whole,) = (row for row in rows if row["step"] == "whole step")
    parts = []
    for row in rows:
        if row is whole:
            continue
        names = tuple(f".{name}.weight" for name in row["weights"].split())
        n_bytes = sum(t.n_bytes for t in tensors if f".{t.name}".endswith(names)) if names else 0
        parts.append(part(row, n_bytes, options.peak))
    parts.sort(key=lambda p: -p.seconds)
    total = sum(p.seconds for p in parts)
    picture = as_svg(
        f"Where a token's time goes: {options.shape} Q4_0, context 128",
        f"{whole['gpu']}, {whole['date']}; steps timed one by one: {total * 1e6:.0f} us; "
        f"whole: {float(whole['us']):.0f} us. Since then attention has become one kernel.",
        parts,
    )
    options.picture.write_text(picture, "utf-8")


if __name__ == "__main__":
    main()
