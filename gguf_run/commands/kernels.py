"""`gguf-run kernels`: the CUDA kernels and what each takes of a GPU; compiles without one."""

from __future__ import annotations

from typing import Any

import click

from gguf_run.commands.opening import LoadingBar
from gguf_run.commands.options import verbose_option
from gguf_run.cuda.cache import FileCache
from gguf_run.cuda.kernel_list import CAPABILITIES, compile_all, format_kernels
from gguf_run.cuda.nvrtc import find_nvrtc
from gguf_run.cuda.select import kernel_cache


def _capability(ctx: Any, param: Any, names: tuple[str, ...]) -> tuple[int, ...]:
    try:
        return tuple(int(name.removeprefix("sm_").removesuffix("a")) for name in names)
    except ValueError:
        raise click.BadParameter(
            f"expected names such as sm_90, found {', '.join(names)}"
        ) from None


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--arch",
    "capabilities",
    multiple=True,
    default=[f"sm_{c}" for c in CAPABILITIES],
    show_default=True,
    callback=_capability,
    help="Compile for this architecture; may be given again.",
)
@verbose_option
def kernels(capabilities: tuple[int, ...], verbose: bool) -> None:
    """List the CUDA kernels: registers, shared memory, spills, an architecture a column.

    All of them are compiled by NVRTC; no GPU is needed.
    """
    nvrtc, cache = find_nvrtc(), FileCache(kernel_cache())
    bar = LoadingBar()
    facts = [f for c in capabilities for f in compile_all(nvrtc, c, cache, bar)]
    bar.close()
    click.echo(format_kernels(facts))
