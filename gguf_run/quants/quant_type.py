"""What a tensor type is: the elements of a block, its bytes, how it is decoded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from gguf_run.errors import ModelError

RawBytes = npt.NDArray[np.uint8]
Float32s = npt.NDArray[np.float32]
Decoder = Callable[[RawBytes], Float32s]


@dataclass(frozen=True, slots=True)
class QuantType:
    """One of ggml's tensor types.

    Attributes:
        name: ggml's name without its prefix, such as ``"Q4_0"``.
        id: the number that stands for the type in a GGUF file.
        block_size: how many elements of a row are stored together.
        type_size: bytes of one block.
        decoder: turns raw bytes into float32, or None where no decoder is known.
    """

    name: str
    id: int
    block_size: int
    type_size: int
    decoder: Decoder | None = field(default=None, repr=False, compare=False)

    def row_bytes(self, n_elements: int) -> int:
        """Bytes of a row of ``n_elements``; ValueError where they don't fill whole blocks."""
        n_blocks, rest = divmod(n_elements, self.block_size)
        if rest:
            raise ValueError(
                f"a row of {n_elements} elements doesn't fill whole {self.name} blocks "
                f"of {self.block_size}"
            )
        return n_blocks * self.type_size

    def decode(self, raw: RawBytes) -> Float32s:
        """Decode rows of stored blocks.

        Args:
            raw: uint8, shape (..., bytes); the last axis holds whole blocks.

        Returns:
            float32, shape (..., elements). For F32 it may share memory with ``raw``.

        Raises:
            ModelError: the type is known, but nothing here can decode it.
            ValueError: ``raw`` is not uint8 or its rows are no whole number of blocks.
        """
        if self.decoder is None:
            raise ModelError(
                f"tensor type {self.name} ({self.id}) can't be decoded: expected a type with a "
                "decoder, found one that gguf-run knows by its size alone; "
                "convert the model to another type"
            )
        if raw.dtype != np.uint8:
            raise ValueError(f"{self.name}.decode: expected uint8, found {raw.dtype}")
        n_bytes = raw.shape[-1] if raw.ndim else 0
        n_blocks, rest = divmod(n_bytes, self.type_size)
        if raw.ndim == 0 or rest:
            raise ValueError(
                f"{self.name}.decode: expected rows of whole blocks of {self.type_size} bytes, "
                f"found shape {raw.shape}"
            )
        shape = (*raw.shape[:-1], n_blocks * self.block_size)
        if raw.size == 0:
            return np.zeros(shape, np.float32)
        # Random bits make NaNs and infinities on the way, which are values like any other here.
        with np.errstate(over="ignore", invalid="ignore"):
            return self.decoder(np.ascontiguousarray(raw)).reshape(shape)
