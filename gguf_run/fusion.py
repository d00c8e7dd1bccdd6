"""Fused ops: named groups of ops that one kernel may run, found in a graph by patterns.

The reference of a fused op is its parts run one after another, so every fusion is tested against
the unfused graph. A pattern is written as the ops it replaces, one after another:

    normed = rms_norm(x); y = mul(normed, w)

A name to the left stands for that op's result; a name that no op defines stands for any tensor from
outside. `a|b` takes either op, `?=` marks an op that may be missing (its name then stands for its
first source). Views between the ops are looked through. Names after `keep:` may be read by others,
too; all other results inside must have no reader but the group.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from gguf_run.graph import GLU_OPS, VIEW_OPS, Graph, Kind, Tensor

Readers = Mapping[Tensor, Sequence[Tensor]]
Match = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class PatternOp:
    """One op of a pattern: the name of its result, the ops it may be, the names of its sources."""

    name: str
    ops: tuple[str, ...]
    sources: tuple[str, ...]
    optional: bool


@dataclass(frozen=True, slots=True)
class Fusion:
    """A fused op: its name and the pattern of its parts (see this module's head)."""

    name: str
    pattern: str
    ops: tuple[PatternOp, ...] = field(init=False, repr=False, compare=False)
    keep: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        text, _, kept = self.pattern.partition("keep:")
        statements = [s.strip() for s in text.split(";") if s.strip()]
        ops = tuple(_parse(statement) for statement in statements)
        object.__setattr__(self, "ops", ops)
        keep = frozenset(kept.replace(",", " ").split()) | {ops[-1].name}
        object.__setattr__(self, "keep", keep)


_STATEMENT = re.compile(r"(\w+)\s*(\??=)\s*([\w|]+)\((.*)\)")

_COMMUTATIVE = ("add", "mul")


def _parse(statement: str) -> PatternOp:
    found = _STATEMENT.fullmatch(statement)
    if found is None:
        raise ValueError(f"pattern: expected 'name = op(sources)', found {statement!r}")
    sources = tuple(s.strip() for s in found[4].split(",") if s.strip())
    return PatternOp(found[1], tuple(found[3].split("|")), sources, found[2] == "?=")


_NORMED = "n = rms_norm(x); m = mul(n, w); c ?= cast(m);"
_THREE = "q = mul_mat(wq, c); k = mul_mat(wk, c); v = mul_mat(wv, c)"
_THREE_SUMS = f"{_THREE}; qb = add(q, bq); kb = add(k, bk); vb = add(v, bv) keep: qb kb vb"
_PLAIN_GLU = "|".join(GLU_OPS)
_GLU = f"{_PLAIN_GLU}|swiglu_oai"
_GATED = "g = mul_mat(wg, c); u = mul_mat(wu, c);"
_ROUTED = "n = rms_norm(x); m = mul(n, w); p = mul_mat(wr, m)"
_CHOICE = "i = moe_ids(l); r = moe_weights(l, i)"
_EXPERTS_GATED = (
    "g = mul_mat_id(wg, x, i); h ?= add_id(g, bg, i); u = mul_mat_id(wu, x, i);"
    f" v ?= add_id(u, bu, i); y = {_GLU}(h, v); c = cast(y)"
)
_EXPERTS_JOINT = f"g = mul_mat_id(w, x, i); h ?= add_id(g, b, i); y = {_GLU}(h, h); c = cast(y)"
_EXPERTS_SUM = "p = mul_mat_id(w, x, i); q ?= add_id(p, b, i); s = moe_sum(q, m)"
_CACHED = "y = flash_attn_ext(qr, ks, vs); ks = set_rows(kc, kr); vs = set_rows(vc, v);"
_HEADS = f"qr = rope(q); {_CACHED} kr = rope(k)"
_NORMED_HEADS = (
    f"qn = rms_norm(q); qm = mul(qn, wq); qr = rope(qm); {_CACHED}"
    " kr = rope(km); km = mul(kn, wk); kn = rms_norm(k)"
)

FUSIONS = (
    Fusion("attn_decode", f"{_NORMED_HEADS} keep: y ks vs"),
    Fusion("attn_decode", f"{_HEADS} keep: y ks vs"),
    Fusion("flash_attn_append", f"{_NORMED_HEADS}; c = cast(y) keep: ks vs"),
    Fusion("flash_attn_append", f"{_NORMED_HEADS} keep: y ks vs"),
    Fusion("flash_attn_append", f"{_HEADS}; c = cast(y) keep: ks vs"),
    Fusion("flash_attn_append", f"{_HEADS} keep: y ks vs"),
    Fusion("norm_mul_mats", f"{_NORMED} {_THREE_SUMS}"),
    Fusion("norm_mul_mats", f"{_NORMED} {_THREE} keep: q k v"),
    Fusion("norm_gate_up", f"{_NORMED} {_GATED} y = {_PLAIN_GLU}(g, u)"),
    Fusion("norm_mul_mat", f"{_NORMED} p = mul_mat(wp, c); y = add(p, b)"),
    Fusion("norm_mul_mat", f"{_NORMED} y = mul_mat(wp, c)"),
    Fusion("norm_router", f"{_ROUTED}; l = add(p, b); c ?= cast(m) keep: m l"),
    Fusion("norm_router", f"{_ROUTED}; c ?= cast(m) keep: m p"),
    Fusion("cast_mul_mat", "c = cast(x); p = mul_mat(w, c); b = add(p, r); y = add(b, s)"),
    Fusion("cast_mul_mat", "c = cast(x); p = mul_mat(w, c); y = add(p, r)"),
    Fusion("cast_mul_mat", "c = cast(x); y = mul_mat(w, c)"),
    Fusion("cast_mul_mat", "p = mul_mat(w, x); b = add(p, r); y = add(b, s)"),
    Fusion("cast_mul_mat", "p = mul_mat(w, x); y = add(p, r)"),
    Fusion("mul_mats", _THREE_SUMS),
    Fusion("mul_mats", f"{_THREE} keep: q k v"),
    Fusion("mul_mat_glu_cast", f"{_GATED} h = {_PLAIN_GLU}(g, u); y = cast(h)"),
    Fusion("mul_mats_glu", f"{_GATED} y = {_PLAIN_GLU}(g, u)"),
    Fusion("mul_mats", "q = mul_mat(wq, c); k = mul_mat(wk, c) keep: q k"),
    Fusion("rms_norm_mul_cast", "n = rms_norm(x); m = mul(n, w); y = cast(m) keep: m"),
    Fusion("rms_norm_mul_rope", "n = rms_norm(x); m = mul(n, w); y = rope(m)"),
    Fusion("rms_norm_mul", "n = rms_norm(x); y = mul(n, w)"),
    Fusion("rope_set_rows", "r = rope(x); y = set_rows(cache, r, slots)"),
    Fusion("glu_cast", f"g = {_GLU}(a, b); y = cast(g)"),
    Fusion("mul_mat_add", "p = mul_mat(w, x); y = add(p, b)"),
    Fusion("mul_mat_id_glu", f"{_CHOICE}; {_EXPERTS_GATED} keep: i r"),
    Fusion("mul_mat_id_glu", f"{_CHOICE}; {_EXPERTS_JOINT} keep: i r"),
    Fusion("mul_mat_id_glu", _EXPERTS_GATED),
    Fusion("mul_mat_id_glu", _EXPERTS_JOINT),
    Fusion("mul_mat_id_sum", f"{_EXPERTS_SUM}; y = add(s, r)"),
    Fusion("mul_mat_id_sum", _EXPERTS_SUM),
    Fusion("mul_mat_id_add", "p = mul_mat_id(w, x, i); y = add_id(p, b, i)"),
    Fusion("moe_router", "e = moe_ids(l); y = moe_weights(l, e) keep: e"),
    Fusion("moe_sum_add", "s = moe_sum(x, w); y = add(s, b)"),
)
"""Tried in this order at each op; the first that matches wins."""


def producer(t: Tensor) -> Tensor:
    """The leaf or op that made the bytes that `t` shows, past any views."""
    while t.op in VIEW_OPS:
        t = t.srcs[0]
    return t


def find_readers(graph: Graph) -> dict[Tensor, list[Tensor]]:
    """The ops that read each tensor, also through views, in graph order."""
    readers: dict[Tensor, list[Tensor]] = {t: [] for t in (*graph.leaves, *graph.tensors)}
    for t in graph.tensors:
        if t.op not in VIEW_OPS:
            for source in dict.fromkeys(producer(s) for s in t.srcs):
                readers[source].append(t)
    return readers


Accepts = Callable[[str, tuple[Tensor, ...]], bool]
"""Whether a backend has a kernel for a fusion (its name) of just these parts, in graph order."""


def fuse(
    graph: Graph,
    fusions: Sequence[Fusion],
    readers: Readers,
    kept: set[Tensor],
    accepts: Accepts | None = None,
) -> list[tuple[str, tuple[Tensor, ...]]]:
    """Cover all ops with groups (name, parts in graph order), in an order in which they can run.

    `kept` are results that the host reads.
    """
    order = {t: i for i, t in enumerate(graph.tensors)}
    taken: set[Tensor] = set()
    groups: list[tuple[str, tuple[Tensor, ...]]] = []
    for t in graph.tensors:
        if t.op in VIEW_OPS or t in taken:
            continue
        name, parts = t.op, [t]
        for fusion in fusions:
            found = _find(fusion, t, readers, kept, taken, order)
            if found is None:
                continue
            found.sort(key=order.__getitem__)
            if accepts is None or accepts(fusion.name, tuple(found)):
                name, parts = fusion.name, found
                break
        taken.update(parts)
        groups.append((name, tuple(parts)))
    return _in_order(groups, order)


# Matching


def _find(
    fusion: Fusion,
    first: Tensor,
    readers: Readers,
    kept: set[Tensor],
    taken: set[Tensor],
    order: Mapping[Tensor, int],
) -> list[Tensor] | None:
    """The parts of `fusion` whose first op is `first`, or None."""
    if first.op not in fusion.ops[0].ops:
        return None
    for match in _matches(fusion.ops, {}, first, readers, taken):
        parts = {match[op.name]: op.name for op in fusion.ops if match[op.name].op in op.ops}
        if _stands_alone(fusion, parts, readers, kept, order):
            return list(parts)
    return None


def _matches(
    ops: Sequence[PatternOp],
    match: Match,
    first: Tensor | None,
    readers: Readers,
    taken: set[Tensor],
) -> Iterator[Match]:
    """All ways to find `ops` given what is matched so far; `first` is the first op's tensor."""
    if not ops:
        yield match
        return
    op, rest = ops[0], ops[1:]
    for t in [first] if first is not None else _candidates(op, match, readers):
        # Most candidates fail the first of these tests, which costs least.
        if t.op in op.ops and t not in taken and (op.name in match or t not in match.values()):
            bound = _bind(op, t, match)
            if bound is not None:
                yield from _matches(rest, bound, None, readers, taken)
    if op.optional and op.sources[0] in match:
        yield from _matches(rest, {**match, op.name: match[op.sources[0]]}, None, readers, taken)


def _candidates(op: PatternOp, match: Match, readers: Readers) -> Sequence[Tensor]:
    if op.name in match:
        # An op further on reads it: the pattern goes up from there.
        return (match[op.name],)
    known = next((match[s] for s in op.sources if s in match), None)
    return () if known is None else readers.get(known, ())


def _bind(op: PatternOp, t: Tensor, match: Match) -> Match | None:
    """`match` with `t` as the op's result and its sources by name, or None where they differ."""
    if len(t.srcs) < len(op.sources):
        return None
    sources = [producer(s) for s in t.srcs[: len(op.sources)]]
    for candidate in (sources, sources[::-1]) if t.op in _COMMUTATIVE else (sources,):
        named = {**match}
        for name, source in zip(op.sources, candidate, strict=True):
            if named.setdefault(name, source) is not source:
                break
        else:
            named[op.name] = t
            return named
    return None


def _stands_alone(
    fusion: Fusion,
    parts: Mapping[Tensor, str],
    readers: Readers,
    kept: set[Tensor],
    order: Mapping[Tensor, int],
) -> bool:
    """Whether only results that may leave the group do, and the group can run as one step.

    It can where no result is needed for what the group itself needs.
    """
    leaving = {t for t in parts if t in kept or any(r not in parts for r in readers[t])}
    if any(parts[t] not in fusion.keep for t in leaving):
        return False
    needs = {producer(s) for t in parts for s in t.srcs} - set(parts)
    return not any(_needs_one_of(s, leaving, order) for s in needs)


def _needs_one_of(t: Tensor, others: set[Tensor], order: Mapping[Tensor, int]) -> bool:
    """Whether `t` is one of `others` or hangs on one, through any ops."""
    if not others:
        return False
    oldest = min(order[other] for other in others)
    found, waiting = {t}, [t]
    while waiting:
        t = waiting.pop()
        if t in others:
            return True
        # What was made before all of them hangs on none.
        sources = {s for s in t.srcs if order.get(s, -1) >= oldest} - found
        found |= sources
        waiting += sources
    return False


# Order


def _in_order(
    groups: list[tuple[str, tuple[Tensor, ...]]], order: Mapping[Tensor, int]
) -> list[tuple[str, tuple[Tensor, ...]]]:
    """Groups so that each follows what it reads; else by where their last part stood."""
    group_of = {part: i for i, (_, parts) in enumerate(groups) for part in parts}
    needs = [
        {group_of[producer(s)] for part in parts for s in part.srcs if producer(s) in group_of}
        - {i}
        for i, (_, parts) in enumerate(groups)
    ]
    for earlier, later in _cache_order(order):
        if group_of[earlier] != group_of[later]:
            needs[group_of[later]].add(group_of[earlier])
    placed: list[int] = []
    done: set[int] = set()
    waiting = sorted(range(len(groups)), key=lambda i: order[groups[i][1][-1]])
    for start in waiting:
        _place_after(start, needs, done, placed)
    return [groups[i] for i in placed]


def _place_after(start: int, needs: Sequence[set[int]], done: set[int], placed: list[int]) -> None:
    """Depth first, without recursion: first what `start` needs, then `start`."""
    stack, begun = [start], set[int]()
    while stack:
        i = stack[-1]
        missing = [j for j in sorted(needs[i]) if j not in done]
        if missing:
            assert i not in begun, "groups of fused ops that need each other"
            begun.add(i)
            stack.extend(reversed(missing))
            continue
        stack.pop()
        if i not in done:
            done.add(i)
            placed.append(i)


def _cache_order(order: Mapping[Tensor, int]) -> Iterator[tuple[Tensor, Tensor]]:
    """Pairs of ops on one cache whose order matters, as one of them writes it."""
    last_write: dict[Tensor, Tensor] = {}
    reads: dict[Tensor, list[Tensor]] = {}
    for t in order:
        if t.op in VIEW_OPS:
            continue
        for cache in {s.base for s in t.srcs if s.base.kind is Kind.CACHE}:
            writes = t.base is cache
            if cache in last_write:
                yield last_write[cache], t
            if writes:
                yield from ((r, t) for r in reads.pop(cache, []))
                last_write[cache] = t
            else:
                reads.setdefault(cache, []).append(t)
