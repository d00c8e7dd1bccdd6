"""What a step of mul_mat, with or without an addition, computes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gguf_run.cuda.lowering import Lowering
from gguf_run.fusion import producer
from gguf_run.graph import F16_PAIR, F32, Kind, Tensor


@dataclass(frozen=True, slots=True)
class Product:
    """w (n_out, n_in) times x (n_tok, n_in), plus `addend` (stride 0: one row for all tokens)."""

    w: Tensor
    x: Tensor
    out: Tensor
    addend: Tensor | None = None
    add_stride: int = 0

    @property
    def n_tok(self) -> int:
        return self.x.shape[0]

    @property
    def n_term(self) -> int:
        """How many rows of x a token has, one behind all others."""
        return 2 if self.x.dtype is F16_PAIR else 1

    @property
    def n_row(self) -> int:
        """Rows that the tensor cores see."""
        return self.n_term * self.n_tok

    @property
    def n_out(self) -> int:
        return self.w.shape[0]

    @property
    def n_in(self) -> int:
        return self.w.shape[1]


def product_of(parts: tuple[Tensor, ...]) -> Product | None:
    """What a step computes, or None where the addition isn't one that the kernels can do."""
    product, out = parts[0], parts[-1]
    w, x = product.srcs
    if product is out:
        return Product(w, x, out)
    others = [s for s in out.srcs if producer(s) is not product]
    inside = [s for s in out.srcs if producer(s) is product]
    if len(others) != 1 or inside[0].n_elements != product.n_elements:
        return None
    addend = others[0]
    # Vectors of weights are F32 on the device, whatever they are in the file.
    if addend.dtype is not F32 and (addend.kind is not Kind.WEIGHT or len(addend.shape) > 1):
        return None
    n_out = w.shape[0]
    if addend.shape == (n_out,) and inside[0].shape == product.shape:
        return Product(w, x, out, addend, 0)
    if addend.n_elements != out.n_elements:
        return None
    if addend.is_contiguous:
        return Product(w, x, out, addend, n_out)
    if addend.shape == product.shape and addend.strides[1] == 1:
        return Product(w, x, out, addend, addend.strides[0])
    return None


def products_of(parts: tuple[Tensor, ...]) -> list[Product] | None:
    """The products of one x that a step computes, or None where it holds anything else."""
    found = []
    for t in parts:
        if t.op != "mul_mat":
            continue
        added = [s for s in parts if s.op == "add" and t in map(producer, s.srcs)]
        product = product_of((t, *added))
        if product is None or len(added) > 1:
            return None
        found.append(product)
    return found or None


def operands(low: Lowering, p: Product) -> list[Any]:
    """Where w, x, the addend (None for none) and the result lie."""
    addend = None if p.addend is None else low.at(p.addend)
    return [low.at(p.w), low.at(p.x), addend, low.at(p.out)]
