"""The options that bind the text to a grammar."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gguf_run.commands.options import stack
from gguf_run.commands.texts import read_text

_PATH = click.Path(path_type=Path)

_SPELLINGS = {
    "grammar": "--grammar",
    "grammar_file": "--grammar-file",
    "json_schema": "--json-schema",
    "json_schema_file": "--json-schema-file",
    "regex": "--regex",
}

grammar_options = stack(
    click.option("--grammar", help="Write what this GBNF grammar stands for."),
    click.option("--grammar-file", type=_PATH, help="The same, from a file."),
    click.option("-j", "--json-schema", help="Write JSON that is valid by this schema; {}: any."),
    click.option("-jf", "--json-schema-file", type=_PATH, help="The same, from a file."),
    click.option("--regex", help="Write a match of this regular expression."),
)


def grammar_kwargs(values: dict[str, Any]) -> dict[str, str]:
    """Take the options out of a command's `values` -> keywords of `Model.generate`.

    Raises `click.UsageError` where more than one was given, or a file can't be read.
    """
    given = {name: value for name in _SPELLINGS if (value := values.pop(name)) is not None}
    if len(given) > 1:
        found = " and ".join(_SPELLINGS[name] for name in given)
        raise click.UsageError(f"expected one grammar, schema or regex, found {found}")
    return {name.removesuffix("_file"): _text(name, value) for name, value in given.items()}


def _text(name: str, value: str | Path) -> str:
    if isinstance(value, Path):
        return read_text(_SPELLINGS[name], value)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise click.UsageError(
            f"{_SPELLINGS[name]}: expected UTF-8 text, found other bytes"
        ) from None
    return value
