"""Options of llama.cpp's programs that have no meaning here, and what to do instead."""

from __future__ import annotations

from collections.abc import Sequence

import click

_WHOLE = "the whole model runs on one device: choose it with --device"
_OPTIONS = {
    **dict.fromkeys(("-ngl", "--gpu-layers", "--n-gpu-layers"), _WHOLE),
    **dict.fromkeys(("-sm", "--split-mode", "-ts", "--tensor-split", "-mg", "--main-gpu"), _WHOLE),
    **dict.fromkeys(("-ot", "--override-tensor", "-cmoe", "-ncmoe"), _WHOLE),
    **dict.fromkeys(("-fa", "--flash-attn"), "attention is always fused"),
    **dict.fromkeys(("-t", "--threads", "-tb", "--threads-batch"), "NumPy chooses its threads"),
    **dict.fromkeys(("-ub", "--ubatch-size"), "-b is the size of a step"),
    **dict.fromkeys(("--mlock", "--no-mmap", "-lm"), "files are always mapped"),
    **dict.fromkeys(("-co", "--color"), "terminals get colours by themselves"),
    **dict.fromkeys(("-i", "--interactive", "-if", "-ins"), "to talk with a model: gguf-run chat"),
    **dict.fromkeys(("-mli", "--multiline-input"), "a backslash ends a line that goes on"),
}


def refuse_strangers(arguments: Sequence[str]) -> None:
    """`click.UsageError` where one of them is among the arguments.

    Some would be taken for others: -ngl for -n with the value "gl".
    """
    for argument in arguments:
        if argument == "--":
            return
        name = argument.split("=", 1)[0]
        if name in _OPTIONS:
            raise click.UsageError(f"{name} is llama.cpp's: {_OPTIONS[name]}; leave it out")
