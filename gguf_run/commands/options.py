"""Options that several commands share, with llama.cpp's spellings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from gguf_run.model import CACHE_TYPES, DEVICES

Command = TypeVar("Command", bound=Callable[..., Any])


def demo_model() -> Path:
    """The small model that comes with gguf-run."""
    here = Path(__file__).resolve().parents[1]
    installed = here / "models" / "demo.gguf"
    return installed if installed.exists() else here.parent / "models" / "demo.gguf"


def model_path(model: Path | None, option: Path | None, demo: bool) -> Path:
    """The one model that was named as argument, by `-m` or by `--demo`."""
    given = [path for path in (model, option, demo_model() if demo else None) if path]
    if len(given) != 1:
        found = "none" if not given else " and ".join(map(str, given))
        raise click.UsageError(
            f"expected one model (MODEL, -m MODEL or --demo), found {found}; "
            "try: gguf-run --demo -p 'Once upon a time'"
        )
    return given[0]


def stack(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Several options as one decorator, shown in this order."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


_PATH = click.Path(path_type=Path)

model_options = stack(
    click.argument("model", type=_PATH, required=False),
    click.option("-m", "--model", "model_option", type=_PATH, help="The model file."),
    click.option("--demo", is_flag=True, help="Use the small model that comes with gguf-run."),
)

engine_options = stack(
    click.option(
        "-c",
        "--ctx-size",
        "n_ctx",
        type=click.IntRange(0),
        default=0,
        show_default=True,
        help="Tokens of context; 0: as the model was trained.",
    ),
    click.option(
        "-b",
        "--batch-size",
        "n_batch",
        type=click.IntRange(1),
        default=512,
        show_default=True,
        help="The most prompt tokens in one step.",
    ),
    click.option(
        "--device",
        type=click.Choice(DEVICES),
        default="auto",
        show_default=True,
        help="Where to run; auto: the GPU if there is one.",
    ),
    click.option(
        "-ctk",
        "--cache-type-k",
        type=click.Choice(CACHE_TYPES, case_sensitive=False),
        help="Type of the cached keys.",
    ),
    click.option(
        "-ctv",
        "--cache-type-v",
        type=click.Choice(CACHE_TYPES, case_sensitive=False),
        help="Type of the cached values.",
    ),
    click.option("--no-fuse", is_flag=True, help="Run every op by itself."),
    click.option(
        "--no-graph", is_flag=True, help="Launch kernels one by one, not as a CUDA graph."
    ),
)

verbose_option = click.option(
    "-v", "--verbose", is_flag=True, help="Say more on stderr; show tracebacks."
)
