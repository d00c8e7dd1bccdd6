"""The tensors of a model file as the weights of a graph: looked up by name, checked for shape."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from gguf_run.errors import ModelError
from gguf_run.loader import GGUFFile, TensorInfo


@dataclass(slots=True)
class WeightTable:
    """What the file holds, and which of it an architecture asked for; `data` gives the bytes."""

    tensors: Mapping[str, TensorInfo]
    source: str
    data: Callable[[str], npt.NDArray[np.uint8]]
    used: set[str] = field(default_factory=set)

    @classmethod
    def from_gguf(cls, file: GGUFFile) -> WeightTable:
        return cls(file.tensors, str(file.path), file.data)

    def find(self, name: str, shape: tuple[int, ...]) -> TensorInfo | None:
        """The tensor `name`, or None where the file has none.

        Raises `ModelError` if it has another shape than `shape` (NumPy order).
        """
        info = self.tensors.get(name)
        if info is None:
            return None
        if _without_leading_ones(info.shape) != _without_leading_ones(shape):
            raise ModelError(
                f"{self.source}: tensor {name}: expected shape {shape}, found {info.shape}; "
                "the file does not fit its own metadata"
            )
        self.used.add(name)
        return info

    def require(self, name: str, shape: tuple[int, ...]) -> TensorInfo:
        """As `find`, but a missing tensor is a `ModelError`."""
        info = self.find(name, shape)
        if info is None:
            raise ModelError(
                f"{self.source}: tensor {name}: expected shape {shape}, found no such tensor; "
                "the file is incomplete or of another model than its metadata says"
            )
        return info

    def number(self, name: str) -> float | None:
        """The only element of the tensor `name`, or None where the file has none."""
        info = self.find(name, (1,))
        return None if info is None else float(info.type.decode(self.data(name)).item())

    @property
    def unused(self) -> list[str]:
        """Tensors of the file that the architecture never asked for, in file order."""
        return [name for name in self.tensors if name not in self.used]


def _without_leading_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    """What ggml compares: (1, n) and (n,) are the same tensor to it."""
    while len(shape) > 1 and shape[0] == 1:
        shape = shape[1:]
    return shape
