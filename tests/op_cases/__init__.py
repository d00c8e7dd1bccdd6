"""The cases of all ops, a module a family."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from cases import Case

FAMILIES: dict[str, list[Case]] = {
    module.name: import_module(f"{__name__}.{module.name}").CASES
    for module in iter_modules(__path__)
}
"""Cases by family."""

ALL_CASES = [case for cases in FAMILIES.values() for case in cases]
