"""I-quants: values from a codebook, or (IQ4) from a table of 16 unevenly spaced levels."""

from __future__ import annotations

from gguf_run.quants.decoders import blocks

ROWS = (
    blocks("IQ2_XXS", 16, 256, 66),
    blocks("IQ2_XS", 17, 256, 74),
    blocks("IQ3_XXS", 18, 256, 98),
    blocks("IQ1_S", 19, 256, 50),
    blocks("IQ4_NL", 20, 32, 18),
    blocks("IQ3_S", 21, 256, 110),
    blocks("IQ2_S", 22, 256, 82),
    blocks("IQ4_XS", 23, 256, 136),
    blocks("IQ1_M", 29, 256, 56),
)
