"""Write docs/commands.md from the commands' own help: python .ci/manual.py > docs/commands.md"""

from __future__ import annotations

import inspect

import click

from gguf_run.cli import COMMANDS, find_command
from gguf_run.commands.help import FROM_ENVIRONMENT, GROUPS, GroupedCommand

HEAD = """\
# Commands

Written by `.ci/manual.py` from what `--help-all` shows; a test keeps it up to date. Where no
command is named, `run` is meant.
"""


def manual() -> str:
    """The page, as Markdown."""
    return HEAD + "".join(_command(name, find_command(name)) for name in COMMANDS)


def _command(name: str, command: click.Command) -> str:
    options = [p for p in command.params if isinstance(p, click.Option) and not p.hidden]
    text = f"\n## gguf-run {name}\n\n{inspect.cleandoc(command.help or '')}\n"
    if not isinstance(command, GroupedCommand):
        return text + "\n" + "".join(map(_line, options))
    for title, names in GROUPS.items():
        chosen = sorted((o for o in options if o.name in names), key=lambda o: names.index(o.name))
        if chosen:
            text += f"\n**{title}**\n\n" + "".join(map(_line, chosen))
    grouped = {option for names in GROUPS.values() for option in names}
    return text + "\n**Other**\n\n" + "".join(_line(o) for o in options if o.name not in grouped)


def _line(option: click.Option) -> str:
    spelt = ", ".join(f"`{name}`" for name in [*option.opts, *option.secondary_opts])
    choices = getattr(option.type, "choices", ())
    kinds = " (" + ", ".join(choices) + ")" if choices else ""
    variable = f" `{option.envvar}`" if option.name in FROM_ENVIRONMENT and option.envvar else ""
    return f"- {spelt}{kinds}: {option.help or ''}{variable}\n"


if __name__ == "__main__":
    print(manual(), end="")
