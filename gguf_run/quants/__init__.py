"""One registry of ggml's tensor types: block size, bytes, decoding to float32.

A family of types is one module of this package, and a type one row in its table.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from gguf_run.errors import ModelError
from gguf_run.quants import fp4, i_quants, k_quants, legacy, low_bit, plain
from gguf_run.quants.quant_type import QuantType

_FAMILIES = (plain, legacy, k_quants, i_quants, low_bit, fp4)

QUANT_TYPES: Mapping[int, QuantType] = MappingProxyType(
    {row.id: row for family in _FAMILIES for row in family.ROWS}
)
"""Every tensor type by its number in GGUF files."""

_BY_NAME = {row.name: row for row in QUANT_TYPES.values()}


def quant_type(name: str) -> QuantType:
    """The tensor type of that name (``"Q4_0"``); ModelError where there is none."""
    if name not in _BY_NAME:
        raise ModelError(
            f"tensor type {name!r}: expected one of {', '.join(_BY_NAME)}, found none of that name"
        )
    return _BY_NAME[name]


__all__ = ["QUANT_TYPES", "QuantType", "quant_type"]
