"""What a graph is made of: tensors, and where their bytes live."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from math import prod
from typing import Any

from gguf_run.graph_ops import F32
from gguf_run.graph_params import Params
from gguf_run.quants import QuantType


class Kind(Enum):
    """Where the bytes of a tensor live."""

    INPUT = "input"
    WEIGHT = "weight"
    CACHE = "cache"
    OP = "op"


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """A node of the graph: an input, a weight, a cache, or an op's result.

    `strides` and `offset` count elements of `base`'s memory (`base` is the tensor itself unless
    this is a view). Identity is the object's own.
    """

    name: str
    shape: tuple[int, ...]
    dtype: QuantType
    kind: Kind
    op: str = ""
    srcs: tuple[Tensor, ...] = ()
    params: Params = None
    strides: tuple[int, ...] = ()
    offset: int = 0
    view_of: Tensor | None = None

    @property
    def base(self) -> Tensor:
        """The tensor that owns the bytes."""
        return self if self.view_of is None else self.view_of.base

    @property
    def n_elements(self) -> int:
        return prod(self.shape)

    @property
    def n_bytes(self) -> int:
        """Bytes of the elements, without the gaps that a view may leave."""
        if not self.shape:
            return self.dtype.row_bytes(1)
        return prod(self.shape[:-1]) * self.dtype.row_bytes(self.shape[-1])

    @property
    def is_contiguous(self) -> bool:
        return self.strides == contiguous_strides(self.shape)

    def __repr__(self) -> str:
        shape = ", ".join(map(str, self.shape))
        return f"{self.name or self.op}: {self.dtype.name} ({shape})"


def contiguous_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides in elements of a tensor without gaps, slowest dimension first."""
    return tuple(prod(shape[i + 1 :]) for i in range(len(shape)))


def require(condition: bool, op: str, expected: str, *found: Tensor) -> None:
    """`ValueError` where an op's sources are not what it takes."""
    if not condition:
        raise ValueError(f"{op}: expected {expected}, found {', '.join(map(repr, found))}")


class OpFamily:
    """Constructors of ops that belong together; `Graph` is made of such families."""

    __slots__ = ()

    tensors: list[Tensor]

    def _op(
        self,
        op: str,
        shape: tuple[int, ...],
        srcs: tuple[Tensor, ...],
        params: Params = None,
        dtype: QuantType = F32,
        **view: Any,
    ) -> Tensor:
        view.setdefault("strides", contiguous_strides(shape))
        result = Tensor(
            f"{op}_{len(self.tensors)}", shape, dtype, Kind.OP, op, srcs, params, **view
        )
        self.tensors.append(result)
        return result
