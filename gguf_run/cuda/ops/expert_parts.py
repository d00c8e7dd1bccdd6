"""What the fused products with chosen experts are made of: which parts of a group are which."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gguf_run.cuda.activations import form_of_few
from gguf_run.cuda.layout import LAYOUTS, is_float
from gguf_run.cuda.lowering import Lowering
from gguf_run.cuda.ops.glu import GATES
from gguf_run.fusion import producer
from gguf_run.graph import F16_TILES, F32, Q8_1, Q16_1, Tensor


def bias_of(low: Lowering, t: Tensor) -> Any:
    """Where the experts' biases lie that `t` adds, if it does."""
    return low.at(t.srcs[1]) if t.op == "add_id" else None


def _is_few(product: Tensor) -> bool:
    """Whether a product is the vector kernels', of quantised weights."""
    w, x = product.srcs[:2]
    return not is_float(w.dtype) and x.dtype is form_of_few(w.dtype)


def _has_own_biases(product: Tensor, parts: tuple[Tensor, ...]) -> bool:
    """Whether a product's biases, if there are any, are those of its experts."""
    total = _biased(product, parts)
    return total is product or (total.srcs[1].dtype is F32 and total.srcs[2] is product.srcs[2])


def _biased(product: Tensor, parts: tuple[Tensor, ...]) -> Tensor:
    """The product, or its sum with the experts' biases where there is one."""
    found = (t for t in parts if t.op == "add_id" and producer(t.srcs[0]) is product)
    return next(found, product)


@dataclass(frozen=True, slots=True)
class GateUp:
    """Gate and up, each perhaps with a bias, both the same where one tensor holds both; what is
    made of them, cast; the experts and their weights where these are chosen in the group.
    """

    gate: Tensor
    up: Tensor
    glu: Tensor
    out: Tensor
    ids: Tensor | None
    weights: Tensor | None

    @classmethod
    def of(cls, parts: tuple[Tensor, ...]) -> GateUp:
        """Find them in a group."""
        glu = next(t for t in parts if t.op in GATES)
        gate, up = (producer(s) for s in glu.srcs)

        def find(op: str) -> Tensor | None:
            return next((t for t in parts if t.op == op), None)

        ids, weights = (find(op) for op in ("moe_ids", "moe_weights"))
        return cls(gate, up, glu, parts[-1], ids, weights)

    @property
    def products(self) -> tuple[Tensor, Tensor]:
        """Of gate and of up, without biases."""
        gate, up = (t.srcs[0] if t.op == "add_id" else t for t in (self.gate, self.up))
        return gate, up

    def places(self, low: Lowering) -> tuple[Any, Any, Any, Any]:
        """Weights and biases of gate and up: gate, up, gate's, up's."""
        gate, up = self.products
        at_gate, at_up = low.at(gate.srcs[0]), low.at(up.srcs[0])
        gate_bias, up_bias = bias_of(low, self.gate), bias_of(low, self.up)
        if self.is_joint:
            w = gate.srcs[0]
            row = w.dtype if is_float(w.dtype) else LAYOUTS[w.dtype.name]
            at_up = at_up.at(self.n_ff * row.row_bytes(w.shape[2]))
            up_bias = None if up_bias is None else up_bias.at(4 * self.n_ff)
        return at_gate, at_up, gate_bias, up_bias

    @property
    def is_joint(self) -> bool:
        return self.gate is self.up

    @property
    def n_ff(self) -> int:
        return self.out.shape[2]

    @property
    def on_wgmma(self) -> bool:
        return self.out.dtype is F16_TILES

    def is_plain(self, parts: tuple[Tensor, ...]) -> bool:
        """Whether there are kernels for it: for few tokens, or on wgmma."""
        products = [t for t in parts if t.op == "mul_mat_id"]
        sources = [(t.srcs[1], t.srcs[2], t.srcs[0].dtype, t.srcs[0].shape) for t in products]
        ok = len(set(sources)) == 1 and all(_has_own_biases(t, parts) for t in products)
        ok = ok and self.out.shape == self.glu.shape
        if self.on_wgmma:
            ok = ok and products[0].srcs[1].dtype is F16_TILES and self.ids is None
        else:
            ok = ok and self.out.dtype in (Q8_1, Q16_1) and _is_few(products[0])
        if not self.is_joint:
            return ok and len(products) == 2 and self.glu.srcs == (self.gate, self.up)
        gate, up = self.glu.srcs
        return ok and (gate.offset, up.offset, 2 * self.n_ff) == (0, self.n_ff, self.gate.shape[2])


@dataclass(frozen=True, slots=True)
class Down:
    """The product, perhaps with a bias; the experts' weighted sum of it; that plus a residual."""

    product: Tensor
    biased: Tensor
    total: Tensor
    out: Tensor
    residual: Tensor | None

    @classmethod
    def of(cls, parts: tuple[Tensor, ...]) -> Down:
        """Find them in a group."""
        product = next(t for t in parts if t.op == "mul_mat_id")
        total, out = next(t for t in parts if t.op == "moe_sum"), parts[-1]
        residual = next((s for s in out.srcs if producer(s) is not total), None)
        residual = None if out is total else residual
        return cls(product, _biased(product, parts), total, out, residual)

    def is_plain(self, parts: tuple[Tensor, ...]) -> bool:
        """Whether the vector kernels can do it."""
        ids = self.product.srcs[2]
        ok = _is_few(self.product) and _has_own_biases(self.product, parts)
        ok = ok and self.total.srcs[0] is self.biased
        ok = ok and self.product.srcs[1].shape[1] == ids.shape[1]
        ok = ok and self.total.srcs[1].is_contiguous
        if self.out is self.total:
            return ok
        return ok and self.residual is not None and self._adds_a_row_each()

    @property
    def n_used(self) -> int:
        return self.product.srcs[2].shape[1]

    def _adds_a_row_each(self) -> bool:
        return all(s.shape == self.total.shape for s in self.out.srcs)
