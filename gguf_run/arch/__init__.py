"""The architectures: one small file each, found by a file's `general.architecture`.

An architecture is a function that builds the graph of one batch and returns the logits
(n_out, n_vocab); every tensor it needs it asks the builder for, which checks name and shape. A new
one is a module here that decorates its function with `@architecture("name")`, or with `@encoder`
where it writes no text and returns the states that embed one.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pkgutil import iter_modules

from gguf_run.arch.builder import BatchShape, Builder, CacheShape
from gguf_run.arch.registry import ARCHITECTURES, ENCODERS, BuildFunction
from gguf_run.errors import ModelError


def every_architecture() -> Mapping[str, BuildFunction]:
    """All build functions by name; `ENCODERS` has all of its names then."""
    for module in iter_modules(__path__):
        import_module(f"{__name__}.{module.name}")
    return ARCHITECTURES


def find_architecture(name: str, source: str) -> BuildFunction:
    """The build function of architecture `name`; `ModelError` naming what is supported."""
    for module in _modules_for(name):
        if name not in ARCHITECTURES:
            import_module(f"{__name__}.{module}")
    build = ARCHITECTURES.get(name)
    if build is None:
        known = ", ".join(sorted(ARCHITECTURES))
        hint = _HINTS.get(name, "")
        raise ModelError(
            f"{source}: architecture {name!r} is not supported{hint}; supported are: {known}"
        )
    return build


def _modules_for(name: str) -> list[str]:
    """All modules, those first that an architecture of this name is likely to be in."""

    def is_other(module: str) -> bool:
        return not _letters(name).startswith(_letters(module))

    return sorted((module.name for module in iter_modules(__path__)), key=is_other)


def _letters(name: str) -> str:
    return name.replace("-", "").replace("_", "")


_HINTS = {
    "clip": " (the part of a model that sees; open the file of the model itself)",
    **dict.fromkeys(
        ("neo-bert", "eurobert", "t5encoder"),
        " (a model of embeddings of another kind)",
    ),
}


__all__ = [
    "ENCODERS",
    "BatchShape",
    "BuildFunction",
    "Builder",
    "CacheShape",
    "every_architecture",
    "find_architecture",
]
