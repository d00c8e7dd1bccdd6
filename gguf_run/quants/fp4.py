"""Four-bit floats (E2M1) under a shared scale: E8M0 a block (MXFP4), E4M3 every 16 (NVFP4)."""

from __future__ import annotations

from gguf_run.quants.decoders import blocks

ROWS = (
    blocks("MXFP4", 39, 32, 17),
    blocks("NVFP4", 40, 64, 36),
)
