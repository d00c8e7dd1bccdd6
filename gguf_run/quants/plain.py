"""Types of one number an element: floats and integers."""

from __future__ import annotations

from gguf_run.quants.decoders import blocks, plain
from gguf_run.quants.quant_type import QuantType

ROWS = (
    QuantType("F32", 0, 1, 4, plain("<f4")),
    QuantType("F16", 1, 1, 2, plain("<f2")),
    QuantType("I8", 24, 1, 1, plain("<i1")),
    QuantType("I16", 25, 1, 2, plain("<i2")),
    QuantType("I32", 26, 1, 4, plain("<i4")),
    QuantType("I64", 27, 1, 8, plain("<i8")),
    QuantType("F64", 28, 1, 8, plain("<f8")),
    blocks("BF16", 30, 1, 2),
)
