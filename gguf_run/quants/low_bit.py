"""Ternary, two-bit and one-bit blocks.

The gguf package decodes neither Q1_0 nor Q2_0: files that hold them open, but don't run.
"""

from __future__ import annotations

from gguf_run.quants.decoders import blocks
from gguf_run.quants.quant_type import QuantType

ROWS = (
    blocks("TQ1_0", 34, 256, 54),
    blocks("TQ2_0", 35, 256, 66),
    QuantType("Q1_0", 41, 128, 18),
    QuantType("Q2_0", 42, 64, 18),
)
