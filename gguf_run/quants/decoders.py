"""Decoders that the families of tensor types share."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gguf_run.errors import ModelError
from gguf_run.quants.quant_type import Decoder, Float32s, QuantType, RawBytes


def plain(dtype: npt.DTypeLike) -> Decoder:
    """Decode little-endian numbers of ``dtype`` by rounding each to float32."""
    stored = np.dtype(dtype)

    def decode(raw: RawBytes) -> Float32s:
        return raw.view(stored).astype(np.float32, copy=False)

    return decode


def blocks(name: str, id: int, block_size: int, type_size: int) -> QuantType:
    """A row whose blocks the gguf package decodes."""

    def decode(raw: RawBytes) -> Float32s:
        # Imported on first use: the package takes longer to import than most files to open.
        import gguf

        try:
            stored = gguf.GGMLQuantizationType(id)
            decoded: Float32s = gguf.quants.dequantize(raw, stored)
        except (ValueError, NotImplementedError):
            from importlib.metadata import version

            raise ModelError(
                f"tensor type {name} ({id}): expected a gguf package that decodes it, found "
                f"version {version('gguf')}; upgrade it (pip install -U gguf)"
            ) from None
        return decoded

    return QuantType(name, id, block_size, type_size, decode)
