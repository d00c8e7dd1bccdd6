"""Which form of their activations the matrix products take, written into the graph as casts."""

from __future__ import annotations

from dataclasses import replace

from gguf_run.cuda.layout import is_float
from gguf_run.graph import F16_SCALED, F32, Q8_1, Graph, Kind, Tensor
from gguf_run.quants import QuantType

MAX_FEW = 8
"""Tokens up to which a product is bound by reading its weights: those of the vector kernels."""


def activations_as_products_take_them(graph: Graph) -> Graph:
    """`graph` with a cast before each product whose kernel takes one, shared by products of one x.

    Few tokens meet quantised weights as Q8_1 and floats as f32; many tokens meet tensor cores as
    scaled F16. The graph itself is left as it is, and returned where nothing changes.
    """
    forms = {t: form for t in graph.tensors if (form := _form(t)) is not None}
    if not forms:
        return graph
    result = Graph([], [], {leaf.name: leaf for leaf in graph.leaves})
    new: dict[Tensor, Tensor] = {}
    casts: dict[tuple[Tensor, QuantType], Tensor] = {}
    for t in graph.tensors:
        srcs = [new.get(s, s) for s in t.srcs]
        if t in forms:
            key = (srcs[1], forms[t])
            if key not in casts:
                casts[key] = result.cast(*key)
            srcs[1] = casts[key]
        view_of = None if t.view_of is None else new.get(t.view_of, t.view_of)
        new[t] = replace(t, srcs=tuple(srcs), view_of=view_of)
        result.tensors.append(new[t])
    result.outputs.extend(new.get(t, t) for t in graph.outputs)
    return result


def _form(t: Tensor) -> QuantType | None:
    """The type to which a product's activations are cast, or None for none."""
    if t.op != "mul_mat" or t.srcs[1].dtype is not F32:
        return None
    w, x = t.srcs
    assert w.kind is Kind.WEIGHT, f"{t}: a product of two results has no kernel yet"
    if x.shape[0] <= MAX_FEW:
        return None if is_float(w.dtype) else Q8_1
    # f32 weights would lose by f16; rows that are no whole number of blocks can't be cast.
    if w.dtype is F32 or w.shape[1] % F16_SCALED.block_size:
        return None
    return F16_SCALED
