"""K-quants: super-blocks of 256 whose sub-block scales are quantised themselves.

Q8_K holds activations in ggml's products and appears in no model file, so it has no decoder.
"""

from __future__ import annotations

from gguf_run.quants.decoders import blocks
from gguf_run.quants.quant_type import QuantType

ROWS = (
    blocks("Q2_K", 10, 256, 84),
    blocks("Q3_K", 11, 256, 110),
    blocks("Q4_K", 12, 256, 144),
    blocks("Q5_K", 13, 256, 176),
    blocks("Q6_K", 14, 256, 210),
    QuantType("Q8_K", 15, 256, 292),
)
