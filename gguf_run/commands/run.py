"""`gguf-run MODEL -p PROMPT`: continue a text on stdout."""

from __future__ import annotations

import sys
from pathlib import Path
from time import perf_counter
from typing import Any

import click
from tqdm import tqdm

from gguf_run.commands.grammar_options import grammar_kwargs, grammar_options
from gguf_run.commands.options import engine_options, model_options, model_path, verbose_option
from gguf_run.commands.sampling_options import sampling_kwargs, sampling_options
from gguf_run.generation import Generation
from gguf_run.model import Model

ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "'": "'", '"': '"', "\\": "\\"}


class LoadingBar:
    """A progress bar on stderr for `Model(progress=...)`; silent where stderr is no terminal."""

    def __init__(self) -> None:
        self._bar: tqdm[Any] | None = None
        self._what = ""

    def __call__(self, what: str, done: int, total: int) -> None:
        if self._bar is None or self._what != what:
            self.close()
            self._what = what
            self._bar = tqdm(total=total, desc=what, disable=None, leave=False, file=sys.stderr)
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@model_options
@click.option("-p", "--prompt", help="The text to continue.")
@click.option(
    "-f", "--file", "prompt_file", type=click.Path(path_type=Path), help="Read it from a file."
)
@click.option(
    "-n",
    "--n-predict",
    "--predict",
    "n_predict",
    type=int,
    default=-1,
    show_default=True,
    help="Tokens to write; -1: until the model ends or the context is full.",
)
@click.option("--stop", multiple=True, help="End before this text; may be given again.")
@click.option("--ignore-eos", is_flag=True, help="Go on where the model would end.")
@click.option("--no-display-prompt", is_flag=True, help="Write the completion alone.")
@click.option("--no-escape", is_flag=True, help=r"Take \n, \t, ... in the prompt as they stand.")
@click.option(
    "-no-cnv", "--no-conversation", "no_conversation", is_flag=True, help="Continue; don't chat."
)
@engine_options
@sampling_options
@grammar_options
@verbose_option
def run(
    model: Path | None,
    model_option: Path | None,
    demo: bool,
    prompt: str | None,
    prompt_file: Path | None,
    no_escape: bool,
    verbose: bool,
    **options: Any,
) -> None:
    """Continue a text with a model (the default command).

    The prompt comes from -p, -f or standard input.
    """
    path = model_path(model, model_option, demo)
    text = _prompt_text(prompt, prompt_file)
    if not no_escape:
        text = unescape(text)
    sampling = sampling_kwargs(options, options["n_ctx"] or 1 << 30) | grammar_kwargs(options)
    start = perf_counter()
    with _open(path, options) as opened:
        if verbose:
            _describe(opened)
        load_seconds = perf_counter() - start
        generation = opened.generate(
            text,
            None if options["n_predict"] < 0 else options["n_predict"],
            stop=options["stop"],
            ignore_eos=options["ignore_eos"],
            **sampling,
        )
        try:
            _write(generation, "" if options["no_display_prompt"] else text)
        finally:
            generation.close()
            _report(generation, load_seconds)


def unescape(text: str) -> str:
    r"""Replace \n, \r, \t, \', \" and \\ as llama.cpp does; others stay."""
    pieces = iter(text.split("\\"))
    result = [next(pieces)]
    for piece in pieces:
        if not piece:
            # Two backslashes: the second one begins no escape.
            result.append("\\" + next(pieces, ""))
        elif piece[0] in ESCAPES:
            result.append(ESCAPES[piece[0]] + piece[1:])
        else:
            result.append("\\" + piece)
    return "".join(result)


def _prompt_text(prompt: str | None, file: Path | None) -> str:
    if prompt is not None and file is not None:
        raise click.UsageError("expected one prompt, found both -p and -f")
    if prompt is not None:
        return prompt
    if file is not None:
        try:
            return file.read_text("utf-8").removesuffix("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise click.UsageError(f"-f {file}: expected a UTF-8 text file: {error}") from None
    if sys.stdin.isatty():
        raise click.UsageError("expected a prompt: -p TEXT, -f FILE or standard input")
    return sys.stdin.read().removesuffix("\n")


def _open(path: Path, options: dict[str, Any]) -> Model:
    bar = LoadingBar()
    try:
        return Model(
            path,
            options["device"],
            n_ctx=options["n_ctx"] or None,
            n_batch=options["n_batch"],
            cache_type_k=options["cache_type_k"],
            cache_type_v=options["cache_type_v"],
            fuse=not options["no_fuse"],
            use_graphs=not options["no_graph"],
            progress=bar,
        )
    finally:
        bar.close()


def _describe(model: Model) -> None:
    hp = model.hparams
    click.echo(
        f"{hp.name or 'unnamed'}: {hp.arch}, {hp.n_layer} layers, n_embd {hp.n_embd}, "
        f"context {model.n_ctx}, on {model.device}",
        err=True,
    )
    for name in model.unused_tensors:
        click.echo(f"unused tensor: {name}", err=True)


def _write(generation: Generation, prompt: str) -> None:
    out = sys.stdout
    if hasattr(out, "reconfigure"):
        out.reconfigure(errors="replace")
    out.write(prompt)
    out.flush()
    for chunk in generation:
        out.write(chunk.text)
        out.flush()


def _report(generation: Generation, load_seconds: float) -> None:
    if sys.stdout.isatty():
        click.echo(err=True)
    t = generation.timings
    click.echo(
        f"load {load_seconds:.2f} s | prompt {t.n_prompt} tokens, "
        f"{_rate(t.n_prompt, t.prompt_seconds)} | generation {t.n_generated} tokens, "
        f"{_rate(t.n_generated, t.generate_seconds)}",
        err=True,
    )


def _rate(n_tok: int, seconds: float) -> str:
    return f"{n_tok / seconds:.1f} tok/s" if seconds else "no time"
