"""What the matrix products take besides weights, written into the graph: casts of activations, and
the pairs of a token and an expert, grouped by expert."""

from __future__ import annotations

from dataclasses import replace

from gguf_run.cuda.layout import LAYOUTS, is_float
from gguf_run.graph import (
    F16_PAIR,
    F16_SCALED,
    F16_TILES,
    F32,
    Q8_1,
    Q16_1,
    Graph,
    Kind,
    Tensor,
)
from gguf_run.quants import QuantType

MAX_FEW = 8
"""Tokens up to which a product is bound by reading its weights: those of the vector kernels."""

MAX_PAIR = 64
"""Tokens up to which a product of floats is bound by reading its weights even on tensor cores: two
F16 terms of activations take no more time than one."""

WGMMA_CAPABILITIES = frozenset((90,))
"""The instructions are those of one architecture."""
WGMMA_TYPES = ("F16", "BF16", *(name for name in LAYOUTS if name != "MXFP4"))
"""Types whose numbers, scaled, are f16 numbers; MXFP4's may be as large as 2^128."""
MIN_WGMMA = MAX_PAIR + 1
"""Tokens from which products go to wgmma."""
FEW_CAPABILITY = 80
"""From it on the kernels of few tokens (mul_mat_few.cu) take all types that wgmma does."""
MIN_FEW, MOST_FEW = 5, 32
"""Tokens that they are faster for than the vector kernels and those of many (measured on an H200);
with floats, which come in two terms, up to MAX_FEW."""

PRODUCTS = ("mul_mat", "mul_mat_id", "mul_mat_batched")
FEW_PAIRS = 4
"""Pairs of a token and an expert, for each expert there is, up to which a product reads its weights
once a pair: beyond, it is as fast to group them (measured on an H200)."""
PAIRS = 128
"""Pairs of a token and an expert in a group: with fewer, weights would be unpacked more often."""

WGMMA_PAIRS = (64, 160)
"""Pairs in a group on wgmma, which `pairs_of_tiles` chooses from."""


def activations_as_products_take_them(graph: Graph, capability: int) -> Graph:
    """`graph` with a cast before each product whose kernel takes one, shared by products of one x,
    for a device of a compute capability.

    Few tokens meet quantised weights as Q8_1 or Q16_1 and floats as f32; many tokens meet tensor
    cores as scaled F16, in two terms where that is free, those of chosen experts grouped by expert.
    Where there is wgmma, it takes them in tiles.
    The graph itself is left as it is, and returned where nothing changes.
    """
    if not any(_form(t, capability) or _grouped(t) for t in graph.tensors):
        return graph
    result = Graph([], [], {leaf.name: leaf for leaf in graph.leaves})
    made: dict[object, Tensor] = {}
    new: dict[Tensor, Tensor] = {}
    for t in graph.tensors:
        srcs = [new.get(s, s) for s in t.srcs]
        form = _form(t, capability)
        if form is not None:
            srcs[1] = _cast(result, made, srcs[1], form)
        if _grouped(t):
            size = pairs_of_tiles(t) if form is F16_TILES else PAIRS
            srcs.append(_group(result, made, t, srcs[2], size))
        view_of = None if t.view_of is None else new.get(t.view_of, t.view_of)
        new[t] = replace(t, srcs=tuple(srcs), view_of=view_of)
        result.tensors.append(new[t])
    result.outputs.extend(new.get(t, t) for t in graph.outputs)
    return result


def _cast(g: Graph, made: dict[object, Tensor], x: Tensor, form: QuantType) -> Tensor:
    """x in `form`: one cast for all that look at the same rows."""
    rows = x
    while rows.op == "reshape" and rows.srcs[0].shape[-1] == x.shape[-1]:
        rows = rows.srcs[0]
    if (rows, form) not in made:
        made[rows, form] = g.cast(rows, form)
    found = made[rows, form]
    if found.shape == x.shape:
        return found
    if (found, x.shape) not in made:
        made[found, x.shape] = g.reshape(found, *x.shape)
    return made[found, x.shape]


def pairs_of_tiles(t: Tensor) -> int:
    """Pairs in a group of a product with chosen experts on wgmma: those of most experts, where all
    are chosen as often."""
    mean = t.srcs[2].n_elements / t.srcs[0].shape[0]
    return next((n for n in WGMMA_PAIRS if mean + 2.5 * mean**0.5 <= n), WGMMA_PAIRS[-1])


def _group(g: Graph, made: dict[object, Tensor], t: Tensor, ids: Tensor, size: int) -> Tensor:
    """The pairs of `ids` by expert, as the products of many tokens take them."""
    n_expert = t.srcs[0].shape[0]
    if (ids, n_expert, size) not in made:
        made[ids, n_expert, size] = g.moe_group(ids, n_expert, size)
    return made[ids, n_expert, size]


def _grouped(t: Tensor) -> bool:
    """Whether a product with chosen experts goes to the tensor cores."""
    return t.op == "mul_mat_id" and len(t.srcs) == 3 and _form(t, 0) is F16_SCALED


def form_of_few(dtype: QuantType) -> QuantType:
    """The form in which few tokens meet quantised weights: the finer one where those are fine."""
    is_fine = dtype.name in LAYOUTS and LAYOUTS[dtype.name].is_fine
    return Q16_1 if is_fine else Q8_1


def takes_few(dtype: QuantType, n_tok: int, capability: int) -> bool:
    """Whether tokens are so few, and weights of a type, that mul_mat_few.cu is the fastest."""
    most = MAX_FEW if is_float(dtype) else MOST_FEW
    is_few = MIN_FEW <= n_tok <= most
    return is_few and capability >= FEW_CAPABILITY and dtype.name in WGMMA_TYPES


def _form(t: Tensor, capability: int) -> QuantType | None:
    """The type to which a product's activations are cast, or None for none."""
    if t.op not in PRODUCTS or t.srcs[1].dtype is not F32:
        return None
    w, x = t.srcs[:2]
    assert w.kind is Kind.WEIGHT, f"{t}: a product of two results has no kernel yet"
    few_pairs = t.op == "mul_mat_id" and t.srcs[2].n_elements <= FEW_PAIRS * w.shape[0]
    on_tensor_cores = t.op == "mul_mat" and takes_few(w.dtype, x.shape[0], capability)
    if (x.shape[0] <= MAX_FEW and not on_tensor_cores) or few_pairs:
        return None if is_float(w.dtype) else form_of_few(w.dtype)
    # f32 weights would lose by f16; rows that are no whole number of blocks can't be cast.
    if w.dtype is F32 or w.shape[-1] % F16_SCALED.block_size:
        return None
    whole_tiles = w.shape[-1] % F16_TILES.block_size == 0 and x.shape[0] >= MIN_WGMMA
    has_wgmma = capability in WGMMA_CAPABILITIES and w.dtype.name in WGMMA_TYPES
    if t.op != "mul_mat_batched" and has_wgmma and whole_tiles:
        return F16_TILES
    is_pair = t.op == "mul_mat" and is_float(w.dtype) and x.shape[0] <= MAX_PAIR
    return F16_PAIR if is_pair else F16_SCALED
