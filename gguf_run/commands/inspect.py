"""`gguf-run inspect MODEL`: what is in a file, and the plan that would run."""

from __future__ import annotations

import json
import math
from typing import Any

import click
import numpy as np

from gguf_run.backends import DEVICES
from gguf_run.commands.options import cache_type_options, verbose_option
from gguf_run.commands.shape_options import Source, source_options
from gguf_run.loader import GGUFFile
from gguf_run.plan import format_plan
from gguf_run.planned import Planned, Request, plan_model, summary

SHOWN_ITEMS = 6
SHOWN_CHARACTERS = 100


def _capability(ctx: Any, param: Any, name: str | None) -> int | None:
    if name is None:
        return None
    try:
        return int(name.removeprefix("sm_"))
    except ValueError:
        raise click.BadParameter(f"expected a name such as sm_90, found {name}") from None


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@source_options
@click.option("--plan", "with_plan", is_flag=True, help="The steps of one batch.")
@click.option(
    "--tokens", type=click.IntRange(1), default=1, show_default=True, help="Tokens of that batch."
)
@click.option("-c", "--ctx-size", "n_ctx", type=click.IntRange(0), default=0, help="Its context.")
@click.option(
    "-b",
    "--batch-size",
    "n_batch",
    type=click.IntRange(0),
    default=0,
    help="The most tokens of any batch; 0: as usual on the device.",
)
@cache_type_options
@click.option(
    "--device",
    type=click.Choice(DEVICES),
    default="auto",
    show_default=True,
    help="What to plan for; auto: the GPU if there is one.",
)
@click.option(
    "--arch",
    "capability",
    callback=_capability,
    metavar="SM",
    help="Plan for a GPU of this architecture, such as sm_90, which need not be there.",
)
@click.option("--no-fuse", is_flag=True, help="Plan every op by itself.")
@click.option("--json", "as_json", is_flag=True, help="Write everything as JSON.")
@verbose_option
def inspect(
    source: Source,
    with_plan: bool,
    tokens: int,
    no_fuse: bool,
    as_json: bool,
    verbose: bool,
    **options: Any,
) -> None:
    """Show a file's metadata and tensors, or (--plan) the steps that run it.

    A plan is what the device would run: with its fusions, and the kernels that each step launches.
    """
    with source.open() as file:
        planned = None
        if with_plan:
            planned = plan_model(file, Request(n_tok=tokens, fuse=not no_fuse, **options))
        if as_json:
            click.echo(json.dumps(_as_json(file, planned), ensure_ascii=False, indent=1))
        elif planned is not None:
            click.echo(format_plan(planned.plan, planned.kernels))
            click.echo(summary(planned))
        else:
            _show(file)


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


def _as_json(file: GGUFFile, planned: Planned | None) -> dict[str, Any]:
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
    if planned is not None:
        result["plan"] = _plan_as_json(planned)
    return result


def _plan_as_json(planned: Planned) -> dict[str, Any]:
    plan = planned.plan
    kernels = planned.kernels or [None] * len(plan.steps)
    steps = [
        {
            "index": step.index,
            "op": step.op,
            "kernels": n_kernel,
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
        for step, n_kernel in zip(plan.steps, kernels, strict=True)
    ]
    return {
        "device": planned.device,
        "steps": steps,
        "arena_bytes": plan.arena_bytes,
        "memory": planned.memory,
    }


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
