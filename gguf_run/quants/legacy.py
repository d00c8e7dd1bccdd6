"""Blocks of 32 with one scale (``_0``) or a scale and a minimum (``_1``).

Q8_1 holds activations in ggml's products and appears in no model file, so it has no decoder.
"""

from __future__ import annotations

from gguf_run.quants.decoders import blocks
from gguf_run.quants.quant_type import QuantType

ROWS = (
    blocks("Q4_0", 2, 32, 18),
    blocks("Q4_1", 3, 32, 20),
    blocks("Q5_0", 6, 32, 22),
    blocks("Q5_1", 7, 32, 24),
    blocks("Q8_0", 8, 32, 34),
    QuantType("Q8_1", 9, 32, 40),
)
