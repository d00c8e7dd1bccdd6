"""The command line: `gguf-run MODEL -p PROMPT`, and the sub-commands.

Text goes to stdout, everything else to stderr. Exit codes: 0; 1 for a bad file, model or device; 2
for wrong usage; 130 after Ctrl-C.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from gguf_run import __version__
from gguf_run.commands.streams import give_up_stdout, set_up_streams
from gguf_run.cuda.wake import wake_gpu
from gguf_run.errors import GGUFRunError

COMMANDS = ("bench", "chat", "embed", "inspect", "kernels", "profile", "run", "tokenize")
"""Each is a module of `commands` with a command of that name."""

ON_GPU = ("bench", "chat", "embed", "profile", "run")
"""Those that run a model, on a GPU if there is one and nothing else is said."""

MANY_OBJECTS = 100_000
"""New ones between two searches for garbage: imports and plans make many, and none of it."""


def find_command(name: str) -> click.Command:
    """One of `COMMANDS`, imported now: each needs but a part of the package."""
    command: click.Command = getattr(import_module(f"gguf_run.commands.{name}"), name)
    return command


class DefaultGroup(click.Group):
    """A group whose arguments go to `run` where they begin with no sub-command."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return find_command(cmd_name) if cmd_name in COMMANDS else None

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        own = {"--help", "-h", "--version"}
        if args and args[0] not in own and args[0] not in COMMANDS:
            if not ctx.resilient_parsing:
                _refuse_misspelt(args[0])
            args = ["run", *args]
        if not ctx.resilient_parsing and _runs_on_gpu(args):
            wake_gpu()
        if args and args[0] in ("run", "chat", "bench") and not ctx.resilient_parsing:
            args = [args[0], *_without_strangers(args[1:], find_command(args[0]))]
        return super().parse_args(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Commands, and what may follow where none is named: options of `run`, files."""
        found = super().shell_complete(ctx, incomplete)
        if not incomplete.startswith("-"):
            # In this order, or bash forgets the commands.
            return [CompletionItem(incomplete, type="file"), *found]
        known = {item.value for item in found}
        run = find_command("run")
        inner = click.Context(run, ctx, resilient_parsing=True)
        return found + [i for i in run.shell_complete(inner, incomplete) if i.value not in known]

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write_usage("gguf-run", "MODEL -p PROMPT [OPTIONS]")
        formatter.write_usage("gguf-run", "COMMAND [OPTIONS] ...", prefix="       ")


@click.group(cls=DefaultGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="gguf-run")
def cli() -> None:
    """Run llama.cpp's GGUF model files.

    \b
    gguf-run model.gguf -p "Once upon a time"    continue a text
    gguf-run --demo -p "Once upon a time"        the same with the model that comes along
    gguf-run chat model.gguf                     talk with a model
    gguf-run chat -hf Qwen/Qwen3-0.6B-GGUF       the same with one of the Hugging Face hub
    gguf-run run --help                          the options of a run; --help-all: all of them
    """


def _runs_on_gpu(args: Sequence[str]) -> bool:
    """Whether a GPU, if there is one, will run a model."""
    others = {"cpu", "emulated", "-h", "--help", "--help-all"}
    values = (arg.removeprefix("--device=") for arg in args)
    return bool(args) and args[0] in ON_GPU and others.isdisjoint(values)


def _refuse_misspelt(name: str) -> None:
    import difflib

    near = difflib.get_close_matches(name, COMMANDS, 1, cutoff=0.7)
    if near and not Path(name).exists():
        raise click.UsageError(
            f"expected a command or a model file, found {name!r}; did you mean {near[0]}?"
        )


def _without_strangers(args: Sequence[str], command: click.Command) -> list[str]:
    from gguf_run.commands.strangers import without_strangers

    return without_strangers(args, command)


def main(args: Sequence[str] | None = None) -> None:
    """Entry point of the `gguf-run` script; ends the process with an exit code."""
    arguments = list(sys.argv[1:] if args is None else args)
    gc.set_threshold(MANY_OBJECTS)
    set_up_streams()
    sys.exit(_run(arguments))


def _run(arguments: list[str]) -> int:
    try:
        cli.main(arguments, prog_name="gguf-run", standalone_mode=False, color=_coloured())
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return 130
    except Exception as error:
        if {"-v", "--verbose"} & set(arguments):
            import traceback

            traceback.print_exc()
        give_up_stdout()
        click.echo(f"error: {_explained(error)}", err=True)
        return 1
    return 0


def _explained(error: Exception) -> str:
    if isinstance(error, GGUFRunError):
        return str(error)
    if isinstance(error, MemoryError):
        return f"out of memory ({error}); lower -c or -b, or take a smaller model"
    if isinstance(error, OSError):
        from gguf_run.commands.texts import os_error

        return os_error(error)
    return (
        f"{type(error).__name__}: {error}; this is a fault of gguf-run itself, please report it "
        "(--verbose says where it happened)"
    )


def _coloured() -> bool | None:
    """False where the user wants no colours (no-color.org), else by the stream."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return False if plain else None


if __name__ == "__main__":
    main()
