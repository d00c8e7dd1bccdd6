"""The table of architectures, filled by the modules beside this one as they are imported."""

from __future__ import annotations

from collections.abc import Callable

from gguf_run.arch.builder import Builder
from gguf_run.graph import Tensor

BuildFunction = Callable[[Builder], Tensor]

ARCHITECTURES: dict[str, BuildFunction] = {}

ENCODERS: set[str] = set()
"""Those that see a text both ways and write none: their result is its embedding."""


def architecture(*names: str) -> Callable[[BuildFunction], BuildFunction]:
    """Register the decorated function under `names` (values of `general.architecture`)."""

    def register(build: BuildFunction) -> BuildFunction:
        for name in names:
            if name in ARCHITECTURES:
                raise ValueError(f"architecture {name!r} is registered twice")
            ARCHITECTURES[name] = build
        return build

    return register


def encoder(*names: str) -> Callable[[BuildFunction], BuildFunction]:
    """As `architecture`, for one that returns the states (n_out, n_embd) in place of logits."""
    ENCODERS.update(names)
    return architecture(*names)
