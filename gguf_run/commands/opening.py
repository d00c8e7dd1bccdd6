"""Opens models for the commands, with a progress bar."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gguf_run.model import Model

if TYPE_CHECKING:
    from tqdm import tqdm


class LoadingBar:
    """Progress bars on stderr for `Model(progress=...)`; silent where stderr is no terminal.

    Each goes away once all is done. Several threads may tell of things.
    """

    def __init__(self) -> None:
        self._is_shown = sys.stderr.isatty()
        self._bars: dict[str, tqdm[Any]] = {}
        self._lock = threading.Lock()

    def __call__(self, what: str, done: int, total: int) -> None:
        if not self._is_shown:
            return
        with self._lock:
            if what not in self._bars:
                from tqdm import tqdm

                self._bars[what] = tqdm(total=total, desc=what, leave=False, file=sys.stderr)
            bar = self._bars[what]
            bar.update(done - bar.n)
            if done >= total:
                self._bars.pop(what).close()

    def close(self) -> None:
        while self._bars:
            self._bars.popitem()[1].close()


def open_model(path: Path, options: dict[str, Any]) -> Model:
    """The model at `path`, by the values of `engine_options`; a bar shows it loading, and later
    how far a long prompt has come."""
    bar = LoadingBar()
    sizes = [n for n in (options["n_batch"], options["n_ubatch"]) if n is not None]
    try:
        return Model(
            path,
            options["device"],
            n_ctx=options["n_ctx"] or None,
            n_batch=min(sizes, default=None),
            cache_type_k=options["cache_type_k"],
            cache_type_v=options["cache_type_v"],
            fuse=not options["no_fuse"],
            use_graphs=not options["no_graph"],
            debug=options["debug_kernels"],
            progress=bar,
        )
    finally:
        bar.close()


def describe(model: Model) -> None:
    """Say on stderr what has been opened."""
    hp = model.hparams
    click.echo(
        f"{hp.name or 'unnamed'}: {hp.arch}, {hp.n_layer} layers, n_embd {hp.n_embd}, "
        f"context {model.n_ctx}, on {model.device}",
        err=True,
    )
    for name in model.unused_tensors:
        click.echo(f"unused tensor: {name}", err=True)
