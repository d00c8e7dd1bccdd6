"""`gguf-run inspect MODEL`: what is in a file, and the plan that would run."""

from __future__ import annotations

import json
import math
from typing import Any

import click
import numpy as np

from gguf_run.arch import BatchShape, CacheShape, find_architecture
from gguf_run.commands.model_options import ModelChoice, model_options
from gguf_run.commands.options import verbose_option
from gguf_run.engine import GraphSource
from gguf_run.fusion import FUSIONS
from gguf_run.hparams import HParams, architecture_name
from gguf_run.kv_cache import pages_for
from gguf_run.loader import GGUFFile, open_gguf
from gguf_run.plan import Plan, format_plan, make_plan
from gguf_run.quants import quant_type
from gguf_run.weights import WeightTable

SHOWN_ITEMS = 6
SHOWN_CHARACTERS = 100


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@model_options
@click.option("--plan", "with_plan", is_flag=True, help="The steps of one batch.")
@click.option(
    "--tokens", type=click.IntRange(1), default=1, show_default=True, help="Tokens of that batch."
)
@click.option("-c", "--ctx-size", "n_ctx", type=click.IntRange(0), default=0, help="Its context.")
@click.option("--no-fuse", is_flag=True, help="Plan every op by itself.")
@click.option("--json", "as_json", is_flag=True, help="Write everything as JSON.")
@verbose_option
def inspect(
    model: ModelChoice,
    with_plan: bool,
    tokens: int,
    n_ctx: int,
    no_fuse: bool,
    as_json: bool,
    verbose: bool,
) -> None:
    """Show a file's metadata and tensors, or (--plan) the steps that run it."""
    with open_gguf(model.fetch()) as file:
        plan = _plan(file, tokens, n_ctx, not no_fuse) if with_plan else None
        if as_json:
            click.echo(json.dumps(_as_json(file, plan), ensure_ascii=False, indent=1))
        elif plan is not None:
            click.echo(format_plan(plan))
        else:
            _show(file)


def _plan(file: GGUFFile, n_tok: int, n_ctx: int, fuse: bool) -> Plan:
    source = str(file.path)
    build = find_architecture(architecture_name(file.metadata, source), source)
    hp = HParams.from_metadata(file.metadata, source)
    n_ctx = n_ctx or hp.n_ctx_train
    f16 = quant_type("F16")
    cache = CacheShape(pages_for(n_ctx), n_ctx, f16, f16, quant_type("F32"))
    graphs = GraphSource(build, hp, WeightTable.from_gguf(file), cache)
    return make_plan(graphs.graph(BatchShape(n_tok)), FUSIONS if fuse else ())


def _show(file: GGUFFile) -> None:
    click.echo(f"{file.path}: GGUF version {file.version}")
    click.echo(f"\n{len(file.metadata)} metadata keys")
    for key, value in file.metadata.items():
        click.echo(f"  {key} = {_shown(value)}")
    total = sum(info.n_bytes for info in file.tensors.values())
    click.echo(f"\n{len(file.tensors)} tensors, {total:,} bytes")
    for info in file.tensors.values():
        click.echo(f"  {info.name:<40} {info.type.name:<8} {info.shape!s:<24} {info.n_bytes:>14,}")


def _shown(value: Any) -> str:
    if isinstance(value, list | np.ndarray):
        head = ", ".join(_shown(v) for v in value[:SHOWN_ITEMS])
        more = ", ..." if len(value) > SHOWN_ITEMS else ""
        return f"[{head}{more}] ({len(value)} items)"
    if isinstance(value, str):
        cut = value[:SHOWN_CHARACTERS]
        return repr(cut) + ("..." if len(value) > SHOWN_CHARACTERS else "")
    return str(value)


def _as_json(file: GGUFFile, plan: Plan | None) -> dict[str, Any]:
    result: dict[str, Any] = {
        "path": _plain(str(file.path)),
        "version": file.version,
        "metadata": {_plain(key): _plain(value) for key, value in file.metadata.items()},
        "tensors": [
            {
                "name": _plain(info.name),
                "type": info.type.name,
                "shape": list(info.shape),
                "offset": info.offset,
                "bytes": info.n_bytes,
            }
            for info in file.tensors.values()
        ],
    }
    if plan is not None:
        result["plan"] = _plan_as_json(plan)
    return result


def _plan_as_json(plan: Plan) -> dict[str, Any]:
    steps = [
        {
            "index": step.index,
            "op": step.op,
            "parts": [part.op for part in step.parts],
            "inputs": [t.name for t in step.inputs],
            "outputs": [
                {
                    "name": t.name,
                    "shape": list(t.shape),
                    "type": t.dtype.name,
                    "arena_offset": plan.offsets.get(t.base),
                }
                for t in step.outputs
            ],
            "edges": list(step.edges),
            "bytes_read": step.bytes_read,
            "bytes_written": step.bytes_written,
        }
        for step in plan.steps
    ]
    return {"steps": steps, "arena_bytes": plan.arena_bytes}


def _plain(value: Any) -> Any:
    """As JSON has it: null for a float that is no finite number."""
    if isinstance(value, np.ndarray):
        is_plain = value.dtype.kind != "f" or np.isfinite(value).all()
        return value.tolist() if is_plain else _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, list):
        return [_plain(v) for v in value]
    if isinstance(value, str):
        # Bytes that are no UTF-8 came in as lone surrogates, which no JSON may hold.
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return value
