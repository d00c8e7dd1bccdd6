"""A weight in host memory: the file's bytes, decoded once where the memory for that is there."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from gguf_run.graph import Tensor
from gguf_run.quants import QuantType

CHUNK_ELEMENTS = 1 << 22
"""Elements decoded at a time of a weight that isn't kept decoded (16 MiB of float32)."""


def default_budget() -> int:
    """Half of the memory that is free now, in bytes; 4 GiB where the system doesn't say."""
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (AttributeError, ValueError, OSError):
        return 4 << 30


@dataclass(slots=True)
class DecodeBudget:
    """Bytes that decoded weights may still take, shared by all weights of a model."""

    left: int

    def grant(self, n_bytes: int) -> bool:
        if n_bytes > self.left:
            return False
        self.left -= n_bytes
        return True


@dataclass(slots=True)
class HostWeight:
    """A weight (..., n_in) of any type; the last dimension is a row of the file.

    Within the budget it is decoded to float32 at first use and kept; beyond that a product decodes
    a few rows at a time, again at each use.
    """

    stored: npt.NDArray[np.uint8]
    type: QuantType
    shape: tuple[int, ...]
    budget: DecodeBudget
    _kept: npt.NDArray[np.float32] | None = field(default=None)

    @classmethod
    def of(cls, data: npt.NDArray[np.uint8], weight: Tensor, budget: DecodeBudget) -> HostWeight:
        """`data` (n_bytes,) are the file's bytes of the graph's leaf `weight`."""
        row_bytes = weight.dtype.row_bytes(weight.shape[-1])
        return cls(data.reshape(-1, row_bytes), weight.dtype, weight.shape, budget)

    @property
    def decoded(self) -> npt.NDArray[np.float32]:
        """All of it as float32, in its shape."""
        if self._kept is not None:
            return self._kept
        values = self.type.decode(self.stored).reshape(self.shape)
        owned = values.base is None or self.type.name != "F32"
        if not owned or self.budget.grant(values.nbytes):
            self._kept = values
        return values

    def _fits(self) -> bool:
        n_bytes = 4 * int(np.prod(self.shape))
        return self._kept is not None or self.type.name == "F32" or n_bytes <= self.budget.left

    def rows(self, ids: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Rows `ids` (n,) as float32 (n, n_in)."""
        if self._kept is not None:
            kept: npt.NDArray[np.float32] = self._kept[ids]
            return kept
        return self.type.decode(self.stored[ids])

    def matrix(self, index: int) -> npt.NDArray[np.float32]:
        """Matrix `index` of a stack (n, n_out, n_in), as float32 (n_out, n_in)."""
        if self._fits():
            stacked: npt.NDArray[np.float32] = self.decoded[index]
            return stacked
        n_out = self.shape[1]
        return self.type.decode(self.stored[index * n_out : (index + 1) * n_out])

    def multiply(self, x: npt.NDArray[np.float32], out: npt.NDArray[np.float32]) -> None:
        """x (n_tok, n_in) @ weight.T -> out (n_tok, n_out)."""
        if self._fits():
            np.matmul(x, self.decoded.T, out=out)
            return
        step = max(1, CHUNK_ELEMENTS // self.shape[-1])
        for start in range(0, self.shape[0], step):
            rows = self.type.decode(self.stored[start : start + step])
            out[:, start : start + step] = x @ rows.T
