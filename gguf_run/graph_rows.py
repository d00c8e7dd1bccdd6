"""Less work for rows that nobody wants: of a prompt, logits of the last token alone are asked for.

A graph ends with `get_rows` of the wanted rows (`out_rows`) and what makes logits of them. What the
last layer does after its attention works on each row for itself, so it is done for these alone.
"""

from __future__ import annotations

from dataclasses import replace

from gguf_run.graph import F32, GLU_OPS, UNARY_OPS, Graph, Kind, Tensor
from gguf_run.graph_ops import VIEW_OPS

ROW_BY_ROW = frozenset(
    (
        *("mul_mat", "mul_mat_batched", "mul_mat_id", "rms_norm", "norm", "add", "mul", "scale"),
        *("softcap", "clamp", "concat", "soft_max", "sum_rows", "top_k", "xielu", "swiglu_oai"),
        *("moe_ids", "moe_weights", "moe_sum", "add_id", *UNARY_OPS, *GLU_OPS, *VIEW_OPS),
    )
)
"""Ops whose result for a token hangs on that token's rows of their sources alone."""


def wanted_rows_alone(graph: Graph) -> Graph:
    """`graph`, with `get_rows` of fewer rows moved ahead of all that works row by row.

    Results stay what they are. The graph itself is left as it is, and returned where nothing
    changes.
    """
    for rows in reversed(graph.tensors):
        if rows.op == "get_rows" and rows.srcs[1].name == "out_rows":
            moved = _moved(graph, rows) if rows.shape[0] < rows.srcs[0].shape[0] else None
            return _rebuilt(graph, rows, moved) if moved else graph
    return graph


def _moved(graph: Graph, rows: Tensor) -> set[Tensor]:
    """What is needed for the wanted rows alone, and can be had from wanted rows of its sources."""
    n_tok = rows.srcs[0].shape[0]
    readers: dict[Tensor, list[Tensor]] = {}
    for t in graph.tensors:
        for s in t.srcs:
            readers.setdefault(s, []).append(t)
    moved: set[Tensor] = set()
    for t in reversed(graph.tensors):
        by_row = t.op in ROW_BY_ROW and len(t.shape) > 1 and t.shape[0] == n_tok
        alone = all(r is rows or r in moved for r in readers.get(t, ()))
        if by_row and alone and t in readers and t not in graph.outputs:
            moved.add(t)
    while kept := {t for t in moved if not _can_move(t, moved, readers[t], rows)}:
        moved -= kept
    return moved if rows.srcs[0] in moved else set()


def _can_move(t: Tensor, moved: set[Tensor], readers: list[Tensor], rows: Tensor) -> bool:
    """Whether only what moves reads `t`, and what else it reads of each token are matrices to pick
    rows of; a view moves with what it shows."""
    alone = all(r is rows or r in moved for r in readers)
    if t.op in VIEW_OPS:
        return alone and t.srcs[0] in moved
    return alone and all(map(_can_pick, _edge(t, moved, rows.srcs[0].shape[0])))


def _edge(t: Tensor, moved: set[Tensor], n_tok: int) -> list[Tensor]:
    """Sources of `t` with a row for each token that are not moved themselves."""
    return [s for s in t.srcs if s not in moved and _has_rows(s, n_tok)]


def _has_rows(s: Tensor, n_tok: int) -> bool:
    return s.kind is not Kind.WEIGHT and len(s.shape) > 1 and s.shape[0] == n_tok


def _can_pick(s: Tensor) -> bool:
    return len(s.shape) == 2 and s.dtype is F32 and s.strides[-1] == 1


def _rebuilt(graph: Graph, rows: Tensor, moved: set[Tensor]) -> Graph:
    table, ids = rows.srcs
    n_tok, n_out = table.shape[0], rows.shape[0]
    result = Graph([], [], {leaf.name: leaf for leaf in graph.leaves})
    new: dict[Tensor, Tensor] = {}
    picked: dict[Tensor, Tensor] = {}
    for t in graph.tensors:
        if t is rows:
            new[t] = new[table]
            continue
        srcs = [new.get(s, s) for s in t.srcs]
        shape = t.shape
        if t in moved:
            shape = (n_out, *t.shape[1:])
            for i, s in enumerate(t.srcs):
                if s in moved or not _has_rows(s, n_tok):
                    continue
                if s not in picked:
                    picked[s] = result.get_rows(srcs[i], ids)
                srcs[i] = picked[s]
        new[t] = _with_sources(t, shape, srcs)
        result.tensors.append(new[t])
    result.outputs.extend(new.get(t, t) for t in graph.outputs)
    return result


def _with_sources(t: Tensor, shape: tuple[int, ...], srcs: list[Tensor]) -> Tensor:
    """The op `t` on other sources, as many rows as they have."""
    if t.view_of is None:
        return replace(t, shape=shape, srcs=tuple(srcs))
    viewed = next(new for old, new in zip(t.srcs, srcs, strict=True) if old is t.view_of)
    return replace(t, shape=shape, srcs=tuple(srcs), view_of=viewed)
