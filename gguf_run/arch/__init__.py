"""The architectures: one small file each, found by a file's `general.architecture`.

An architecture is a function that builds the graph of one batch and returns the logits
(n_out, n_vocab); every tensor it needs it asks the builder for, which checks name and shape. A new
one is a module here that decorates its function with `@architecture("name")`, or with `@encoder`
where it writes no text and returns the states that embed one.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from gguf_run.arch.builder import BatchShape, Builder, CacheShape
from gguf_run.arch.registry import ARCHITECTURES, ENCODERS, BuildFunction
from gguf_run.errors import ModelError

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")


def find_architecture(name: str, source: str) -> BuildFunction:
    """The build function of architecture `name`; `ModelError` naming what is supported."""
    build = ARCHITECTURES.get(name)
    if build is None:
        known = ", ".join(sorted(ARCHITECTURES))
        hint = _HINTS.get(name, "")
        raise ModelError(
            f"{source}: architecture {name!r} is not supported{hint}; supported are: {known}"
        )
    return build


_HINTS = {
    "clip": " (the part of a model that sees; open the file of the model itself)",
    **dict.fromkeys(
        ("neo-bert", "eurobert", "t5encoder"),
        " (a model of embeddings of another kind)",
    ),
}


__all__ = [
    "ARCHITECTURES",
    "ENCODERS",
    "BatchShape",
    "BuildFunction",
    "Builder",
    "CacheShape",
    "find_architecture",
]
