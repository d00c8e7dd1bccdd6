"""The results of a bench in llama-bench's formats: markdown, csv, json, jsonl."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from types import MappingProxyType

from gguf_run.bench import Row, count


def as_markdown(rows: Sequence[Row]) -> str:
    """The table that llama-bench prints, with the shares of the device's peaks where rows have
    them.
    """
    columns = {name: [cell(row) for row in rows] for name, cell in _COLUMNS.items()}
    shown = {name: cells for name, cells in columns.items() if any(cells)}
    widths = {name: max(map(len, (name, *cells))) for name, cells in shown.items()}

    def line(cells: Mapping[str, str]) -> str:
        padded = (
            cell.ljust(widths[name]) if name in _LEFT else cell.rjust(widths[name])
            for name, cell in cells.items()
        )
        return f"| {' | '.join(padded)} |"

    rule = (
        f" {'-' * width} " if name in _LEFT else f" {'-' * (width - 1)}: "
        for name, width in widths.items()
    )
    lines = [line({name: name for name in shown}), f"|{'|'.join(rule)}|"]
    lines += [
        line(dict(zip(shown, cells, strict=True))) for cells in zip(*shown.values(), strict=True)
    ]
    return "\n".join(lines)


def as_csv(rows: Sequence[Row]) -> str:
    """A line a test, under a line of field names."""
    out = io.StringIO()
    fields = [name for name in Row.__dataclass_fields__ if name != "samples_ns"]
    writer = csv.DictWriter(out, fields, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    return out.getvalue().rstrip("\n")


def as_json(rows: Sequence[Row]) -> str:
    """A list of objects, with every sample."""
    return json.dumps([asdict(row) for row in rows], indent=2)


def as_jsonl(rows: Sequence[Row]) -> str:
    """An object a line, with every sample."""
    return "\n".join(json.dumps(asdict(row)) for row in rows)


FORMATS: Mapping[str, Callable[[Sequence[Row]], str]] = MappingProxyType(
    {"md": as_markdown, "csv": as_csv, "json": as_json, "jsonl": as_jsonl}
)


def _bytes(n: int) -> str:
    return f"{n / 2**30:.2f} GiB" if n >= 1 << 30 else f"{n / 2**20:.2f} MiB"


def _of_peak(value: float | None, share: float | None) -> str:
    return "" if value is None or share is None else f"{value:.4g} ({share:.0%})"


_LEFT = ("model", "backend")

_COLUMNS: Mapping[str, Callable[[Row], str]] = MappingProxyType(
    {
        "model": lambda row: row.model_type,
        "size": lambda row: _bytes(row.model_size),
        "params": lambda row: count(row.model_n_params),
        "backend": lambda row: row.backend,
        "n_ubatch": lambda row: str(row.n_ubatch),
        "type_k": lambda row: row.type_k,
        "type_v": lambda row: row.type_v,
        "test": lambda row: row.test,
        "t/s": lambda row: f"{row.avg_ts:.2f} ± {row.stddev_ts:.2f}",
        "read GB/s": lambda row: _of_peak(row.read_gb_per_s, row.read_share),
        "TFLOP/s": lambda row: _of_peak(row.tflops, row.flops_share),
    }
)
