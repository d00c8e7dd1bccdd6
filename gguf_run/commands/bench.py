"""`gguf-run bench MODEL`: speed of prompts and of generation, in llama-bench's columns."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import product
from typing import Any

import click

from gguf_run.bench import Row, Workload, workloads
from gguf_run.bench import bench as run_bench
from gguf_run.bench_tables import FORMATS
from gguf_run.cache_shape import CACHE_TYPES
from gguf_run.commands.opening import LoadingBar
from gguf_run.commands.options import (
    Command,
    device_option,
    no_fuse_option,
    repetitions_option,
    verbose_option,
)
from gguf_run.commands.shape_options import Source, source_options
from gguf_run.model import Model

MAX_NUMBERS = 1000
_RANGE = re.compile(r"(\d+)(?:-(\d+)(?:(\*|\+)(\d+))?)?")


class Numbers(click.ParamType):  # type: ignore[type-arg]
    """Numbers of tokens and ranges of them, separated by commas: 512,128-512*2,100-300+50."""

    name = "n,..."

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        matches = [_RANGE.fullmatch(part) for part in str(value).split(",")]
        parts = [_numbers_of(match) if match else [] for match in matches]
        if not all(parts) or sum(map(len, parts)) > MAX_NUMBERS:
            self.fail(
                f"expected numbers of tokens such as 512,2048 or 128-512*2, found {value!r}",
                param,
                ctx,
            )
        return tuple(n for part in parts for n in part)


def _numbers_of(match: re.Match[str]) -> list[int]:
    """The numbers of one part, `MAX_NUMBERS` and one more at most; none where it goes nowhere."""
    first, last = int(match[1]), int(match[2] or match[1])
    sign, by = match[3] or "+", int(match[4] or 1)
    grows = by > 0 if sign == "+" else by > 1 and first > 0
    numbers = [first] if first <= last and (grows or first == last) else []
    while numbers and numbers[-1] < last and len(numbers) <= MAX_NUMBERS:
        numbers.append(numbers[-1] + by if sign == "+" else numbers[-1] * by)
    return [n for n in numbers if n <= last]


class Pair(click.ParamType):  # type: ignore[type-arg]
    """Tokens of a prompt and tokens generated after it: 512,128."""

    name = "pp,tg"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, int]:
        match = re.fullmatch(r"(\d+),(\d+)", str(value))
        if match is None:
            self.fail(f"expected two numbers such as 512,128, found {value!r}", param, ctx)
        return int(match[1]), int(match[2])


class CacheTypes(click.ParamType):  # type: ignore[type-arg]
    """Types of a cache, separated by commas."""

    name = "type,..."

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[str, ...]:
        names = tuple(part.upper() for part in str(value).split(","))
        unknown = [name for name in names if name not in CACHE_TYPES]
        if unknown:
            self.fail(f"expected of {', '.join(CACHE_TYPES)}, found {value!r}", param, ctx)
        return names


def _numbers(*names: str, default: str | None, help: str) -> Callable[[Command], Command]:
    return click.option(
        *names,
        type=Numbers(),
        multiple=True,
        default=[default] if default else [],
        show_default=default is not None,
        help=help,
    )


def _cache_types(*names: str, what: str) -> Callable[[Command], Command]:
    return click.option(*names, type=CacheTypes(), help=f"Types of the cached {what}.")


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@source_options
@_numbers("-p", "--n-prompt", default="512", help="Tokens of prompt; 0: none.")
@_numbers("-n", "--n-gen", default="128", help="Tokens to generate; 0: none.")
@click.option("-pg", type=Pair(), multiple=True, help="Tokens of prompt, then tokens to generate.")
@_numbers("-d", "--n-depth", default="0", help="Tokens in the context before.")
@repetitions_option
@_numbers("-b", "--batch-size", default=None, help="The most prompt tokens in one step.")
@_numbers("-ub", "--ubatch-size", default=None, help="The same; the smaller of both counts.")
@_cache_types("-ctk", "--cache-type-k", what="keys")
@_cache_types("-ctv", "--cache-type-v", what="values")
@device_option
@no_fuse_option
@click.option("--no-graph", is_flag=True, help="Launch kernels one by one.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(list(FORMATS)),
    default="md",
    show_default=True,
    help="How to write the results.",
)
@click.option(
    "-oe",
    "--output-err",
    type=click.Choice(list(FORMATS)),
    help="How to write them to stderr as well.",
)
@verbose_option
def bench(
    source: Source,
    n_prompt: tuple[tuple[int, ...], ...],
    n_gen: tuple[tuple[int, ...], ...],
    pg: tuple[tuple[int, int], ...],
    n_depth: tuple[tuple[int, ...], ...],
    output: str,
    output_err: str | None,
    verbose: bool,
    **options: Any,
) -> None:
    """Measure tokens a second: of prompts (pp), and of generation (tg), at each depth.

    Options that take numbers take several, separated by commas or given again, and ranges: 1-4,
    256-1024*2 (doubled each time), 100-400+100. All combinations are measured. On a GPU the table
    says what share of its read bandwidth and of its tensor cores' speed that is, both measured
    before.
    """
    work = workloads(_all(n_prompt), _all(n_gen), _all(n_depth), pg)
    if not work:
        raise click.UsageError("expected something to measure: -p, -n or -pg other than 0")
    rows = _measure(source, work, options)
    click.echo(FORMATS[output](rows))
    if output_err is not None:
        click.echo(FORMATS[output_err](rows), err=True)


def _all(lists: tuple[tuple[int, ...], ...]) -> list[int]:
    """The numbers of an option, wherever they were given, each once."""
    return list(dict.fromkeys(n for numbers in lists for n in numbers))


def _measure(source: Source, work: list[Workload], options: dict[str, Any]) -> list[Row]:
    """All rows: the work, for each combination of what a model is opened with."""
    batches: list[int | None] = [*_all(options["batch_size"])] or [None]
    ubatches: list[int | None] = [*_all(options["ubatch_size"])] or [None]
    types_k = options["cache_type_k"] or [None]
    types_v = options["cache_type_v"] or [None]
    rows = []
    for n_batch, n_ubatch, type_k, type_v in product(batches, ubatches, types_k, types_v):
        sizes = [n for n in (n_batch, n_ubatch) if n is not None]
        bar = LoadingBar()
        with Model(
            source.open(),
            options["device"],
            n_ctx=max(test.n_tok for test in work),
            n_batch=min(sizes, default=None),
            cache_type_k=type_k,
            cache_type_v=type_v,
            fuse=not options["no_fuse"],
            use_graphs=not options["no_graph"],
            progress=bar,
        ) as model:
            bar.close()
            model.engine.progress = None
            rows += run_bench(model, work, options["repetitions"], _say, n_batch)
    return rows


def _say(test: str) -> None:
    click.echo(test, err=True)
