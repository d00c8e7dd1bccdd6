"""`gguf-run bench MODEL`: speed of prompts and of generation, in llama-bench's columns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from gguf_run.backends import DEVICES
from gguf_run.bench import as_csv, as_json, as_markdown, workloads
from gguf_run.bench import bench as run_bench
from gguf_run.commands.model_options import ModelChoice, model_options
from gguf_run.commands.opening import LoadingBar
from gguf_run.commands.options import Command, verbose_option
from gguf_run.model import CACHE_TYPES, Model

FORMATS = {"md": as_markdown, "csv": as_csv, "json": as_json}


class Numbers(click.ParamType):  # type: ignore[type-arg]
    """Numbers of tokens, separated by commas."""

    name = "n,..."

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        try:
            numbers = tuple(int(part) for part in str(value).split(","))
        except ValueError:
            numbers = (-1,)
        if min(numbers) < 0:
            self.fail(f"expected numbers of tokens such as 512,2048, found {value!r}", param, ctx)
        return numbers


def _numbers(*names: str, default: str, help: str) -> Callable[[Command], Command]:
    return click.option(*names, type=Numbers(), default=default, show_default=True, help=help)


def _cache_type(name: str, what: str) -> Callable[[Command], Command]:
    kind = click.Choice(CACHE_TYPES, case_sensitive=False)
    return click.option(name, type=kind, help=f"Type of the cached {what}.")


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@model_options
@_numbers("-p", "--n-prompt", default="512", help="Tokens of prompt; 0: none.")
@_numbers("-n", "--n-gen", default="128", help="Tokens to generate; 0: none.")
@_numbers("-d", "--n-depth", default="0", help="Tokens in the context before.")
@click.option(
    "-r",
    "--repetitions",
    type=click.IntRange(1),
    default=5,
    show_default=True,
    help="How often each is measured.",
)
@click.option(
    "-b",
    "--batch-size",
    "n_batch",
    type=click.IntRange(1),
    default=512,
    help="The most prompt tokens in one step.",
)
@_cache_type("-ctk", "keys")
@_cache_type("-ctv", "values")
@click.option(
    "--device",
    type=click.Choice(DEVICES),
    default="auto",
    show_default=True,
    help="Where to run; auto: the GPU if there is one.",
)
@click.option("--no-fuse", is_flag=True, help="Run every op by itself.")
@click.option("--no-graph", is_flag=True, help="Launch kernels one by one.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(list(FORMATS)),
    default="md",
    show_default=True,
    help="How to write the results.",
)
@verbose_option
def bench(
    model: ModelChoice,
    n_prompt: tuple[int, ...],
    n_gen: tuple[int, ...],
    n_depth: tuple[int, ...],
    repetitions: int,
    n_batch: int,
    ctk: str | None,
    ctv: str | None,
    device: str,
    no_fuse: bool,
    no_graph: bool,
    output: str,
    verbose: bool,
) -> None:
    """Measure tokens a second: of prompts (pp), and of generation (tg), at each depth."""
    path = model.fetch()
    work = workloads(n_prompt, n_gen, n_depth)
    if not work:
        raise click.UsageError("expected something to measure: -p or -n other than 0")
    bar = LoadingBar()
    with Model(
        path,
        device,
        n_ctx=max(test.n_tok for test in work),
        n_batch=n_batch,
        cache_type_k=ctk,
        cache_type_v=ctv,
        fuse=not no_fuse,
        use_graphs=not no_graph,
        progress=bar,
    ) as opened:
        bar.close()
        rows = run_bench(opened, work, repetitions, lambda name: click.echo(name, err=True))
    click.echo(FORMATS[output](rows))
