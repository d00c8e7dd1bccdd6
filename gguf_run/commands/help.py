"""Help in groups: the common options by `--help`, all of them by `--help-all`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import click

from gguf_run.commands.sampling_options import LISTS
from gguf_run.commands.sampling_options import OPTIONS as SAMPLING

_SAMPLING = (*(option.field for option in SAMPLING), *LISTS)

GROUPS: dict[str, tuple[str, ...]] = {
    "Model": ("model_option", "demo", "hf_repo", "hf_file", "offline"),
    "Text": (
        *("prompt", "prompt_file", "n_predict", "stop", "ignore_eos"),
        *("no_display_prompt", "escape"),
    ),
    "Chat": (
        *("conversation", "system_prompt", "system_prompt_file", "single_turn"),
        *("chat_template", "chat_template_file", "chat_template_kwargs", "reasoning_budget"),
    ),
    "Sampling": _SAMPLING,
    "Structured output": (
        *("grammar", "grammar_file", "json_schema", "json_schema_file", "regex"),
    ),
    "Running": (
        *(
            "n_ctx",
            "n_batch",
            "n_ubatch",
            "device",
            "cache_type_k",
            "cache_type_v",
            "no_fuse",
            "no_graph",
        ),
        "debug_kernels",
    ),
}
"""Options by what they are about; those in no group come last."""

COMMON = frozenset(
    (
        *("model_option", "demo", "hf_repo", "prompt", "prompt_file", "n_predict"),
        *("conversation", "system_prompt", "temperature", "top_k", "top_p", "min_p"),
        *(
            "repeat_penalty",
            "seed",
            "json_schema",
            "n_ctx",
            "device",
            "verbose",
            "help",
            "help_all",
        ),
    )
)

FROM_ENVIRONMENT = (*GROUPS["Running"], *GROUPS["Sampling"], "offline")
"""Options whose default may come from the environment, as GGUF_RUN_<LONG_SPELLING>."""


class GroupedCommand(click.Command):
    """A command with many options."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        everything = click.Option(
            ["--help-all"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_show_all,
            help="Show all options and exit.",
        )
        self.params.append(everything)
        for param in self.params:
            if isinstance(param, click.Option) and param.name in FROM_ENVIRONMENT:
                param.envvar = _variable(param)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        shown = {
            param.name: record
            for param in self.get_params(ctx)
            if (ctx.meta.get(_ALL) or param.name in COMMON or "--help" in param.opts)
            and (record := param.get_help_record(ctx)) is not None
        }
        grouped = {name for names in GROUPS.values() for name in names}
        rest = tuple(str(name) for name in shown if name not in grouped)
        for title, names in {**GROUPS, "Other": rest}.items():
            _write(formatter, title, [shown[name] for name in names if name in shown])
        if not ctx.meta.get(_ALL):
            formatter.write_paragraph()
            formatter.write_text(f"{ctx.command_path} --help-all shows all options.")


_ALL = "gguf_run.help_all"


def _show_all(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        ctx.meta[_ALL] = True
        click.echo(ctx.get_help(), color=ctx.color)
        ctx.exit()


def _variable(option: click.Option) -> str:
    long = next(name for name in option.opts if name.startswith("--"))
    return "GGUF_RUN_" + long.removeprefix("--").replace("-", "_").upper()


def _write(formatter: click.HelpFormatter, title: str, records: Iterable[tuple[str, str]]) -> None:
    rows = list(records)
    if rows:
        with formatter.section(title):
            formatter.write_dl(rows)
