"""Routers, pairs grouped by expert, experts' biases and weighted sums."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
from case_data import Array, Draw, distinct, integers, values
from cases import Build, Case

from gguf_run.graph import F32, Gating, Graph, RouterParams, Tensor
from gguf_run.quants import quant_type
from op_cases.stream_mul_mat import ROUNDED

# Routers


def spaced(n_level: int) -> Draw:
    """Rows of numbers from -4 to 4 on `n_level` levels in random order: ties where those are fewer
    than columns, and no two numbers so close that another exp could swap them."""

    def draw(rng: np.random.Generator, t: Tensor) -> Array:
        levels = np.linspace(-4, 4, n_level, dtype=np.float32)
        rows = np.broadcast_to(np.resize(levels, t.shape[-1]), t.shape)
        return rng.permuted(rows, axis=-1)

    return draw


def router(n_tok: int, n_expert: int, p: RouterParams, bias: bool = False) -> Build:
    """Experts and weights; an expert's bias is as large as its scores."""

    def build(g: Graph) -> list[Tensor]:
        logits = g.input("logits", (n_tok, n_expert), F32)
        ids = g.moe_ids(logits, p, g.weight("bias", (n_expert,), F32) if bias else None)
        return [ids, g.moe_weights(logits, ids, p)]

    return build


def routes(
    n_tok: int,
    n_expert: int,
    k: int,
    gating: Gating,
    n_level: int | None = None,
    bias: bool = False,
) -> Case:
    p = RouterParams(k, gating, normalise=gating is not Gating.SOFTMAX_SELECTED, scale=1.5)
    ties = f" on {n_level} levels" if n_level else ""
    name = f"moe_router {gating.name}, {k} of {n_expert}, {n_tok} tokens{ties}"
    data = {"logits": spaced(n_level or n_expert)}
    if bias:
        name, data = name + ", biased", {**data, "bias": spaced(2 * n_expert + 1)}
    return Case(name, router(n_tok, n_expert, p, bias), data)


def grouped(n_expert: int, k: int, n_group: int, n_used: int, n_level: int | None = None) -> Case:
    p = RouterParams(k, Gating.SIGMOID, n_group=n_group, n_group_used=n_used, scale=2.5)
    ties = f" on {n_level} levels" if n_level else ""
    name = f"moe_router {k} of {n_expert} in {n_used} of {n_group} groups{ties}"
    data = {"logits": spaced(n_level or n_expert), "bias": spaced(3 * n_expert)}
    return Case(
        name,
        router(9, n_expert, p, bias=n_level is None),
        {**data} if n_level is None else {"logits": data["logits"]},
    )


def weights_of_given_experts(gating: Gating, normalise: bool) -> Build:
    """Experts from elsewhere, logits a slice with gaps."""

    def build(g: Graph) -> Tensor:
        logits = g.view(g.input("logits", (7, 50), F32), 3, 43)
        p = RouterParams(4, gating, normalise)
        return g.moe_weights(logits, g.input("ids", (7, 4)), p)

    return build


def experts_alone(g: Graph) -> Tensor:
    return g.moe_ids(g.view(g.input("logits", (7, 50), F32), 3, 43), RouterParams(4))


def sums_that_vanish() -> Array:
    """Rows whose best scores are tiny, zero, or the same for all."""
    rows = np.full((5, 16), -30, np.float32)
    rows[1] = -200
    rows[2, 5:9] = 200
    rows[3] = 0
    rows[4, ::2] = -np.inf
    return rows


ROUTERS = [
    *(routes(3, n, 8, g) for n, g in product((8, 60, 128, 160, 384, 512), Gating)),
    *(routes(5, 64, k, Gating.SOFTMAX) for k in (1, 2, 3, 6, 16)),
    *(routes(n, 128, 8, Gating.SOFTMAX) for n in (1, 7, 8, 9, 257)),
    *(routes(4, n, k, Gating.SIGMOID, n_level=5) for n, k in ((8, 2), (60, 4), (512, 16))),
    *(routes(6, n, 8, g, bias=True) for n in (33, 256) for g in Gating),
    routes(3, 160, 6, Gating.SOFTMAX, n_level=1),
    routes(4096, 512, 16, Gating.SIGMOID),
    routes(4096, 8, 1, Gating.SOFTMAX),
    *(
        grouped(*sizes)
        for sizes in ((256, 8, 8, 4), (160, 6, 8, 3), (64, 16, 32, 9), (12, 2, 3, 1))
    ),
    *(grouped(*sizes, n_level=3) for sizes in ((256, 8, 8, 4), (24, 5, 4, 2))),
    *(
        Case(
            f"moe_router {g.name} with sums that vanish, {'' if n else 'not '}normalised",
            router(5, 16, RouterParams(4, g, n)),
            {"logits": values(sums_that_vanish())},
        )
        for g in (Gating.SIGMOID, Gating.SQRT_SOFTPLUS)
        for n in (True, False)
    ),
    *(
        Case(
            f"moe_weights {g.name}, {'' if n else 'not '}normalised",
            weights_of_given_experts(g, n),
            {"ids": integers(0, 40)},
        )
        for g in Gating
        for n in (True, False)
    ),
    Case("moe_ids alone", experts_alone, {"logits": spaced(50)}),
]

# Routers with the norm ahead of them


def normed(
    n: int,
    n_expert: int,
    p: RouterParams,
    dtype: str = "Q4_0",
    added: bool = False,
    bias: bool = False,
    shared: bool = False,
    start: int = 0,
) -> Build:
    """Norm, router and a product with the chosen experts; `shared`: others read the norm, too."""

    def build(g: Graph) -> list[Tensor]:
        x = g.view(g.input("x", (1, start + n), F32), start, start + n)
        x = g.mul(g.rms_norm(x, 1e-6), g.weight("norm", (n,), F32))
        logits = g.mul_mat(g.weight("router", (n_expert, n), F32), x)
        if added:
            logits = g.add(logits, g.weight("router.bias", (n_expert,), F32))
        ids = g.moe_ids(logits, p, g.weight("bias", (n_expert,), F32) if bias else None)
        weights = g.moe_weights(logits, ids, p)
        w = g.weight("w", (n_expert, 8, n), quant_type(dtype))
        y = g.mul_mat_id(w, g.reshape(x, 1, 1, n), ids)
        return [ids, weights, y, *([g.scale(x, 2.0)] if shared else [])]

    return build


def norm_router(n: int, n_expert: int, k: int, how: str = "", **options: Any) -> Case:
    gating = options.pop("gating", Gating.SOFTMAX)
    p = RouterParams(k, gating, **options.pop("params", {}))
    name = f"norm_router {k} of {n_expert}, {n} numbers {gating.name}{how and ', ' + how}"
    return Case(name, normed(n, n_expert, p, **options), tolerance=ROUNDED)


NORMED = [
    *(norm_router(512, n, min(n, 8)) for n in (1, 8, 60, 160, 512)),
    *(norm_router(n, 16, 4) for n in (512, 544, 2016, 2048, 2080, 8192)),
    *(norm_router(512, 40, 4, gating=g, bias=g is not Gating.SOFTMAX) for g in Gating),
    norm_router(512, 16, 4, "biased", gating=Gating.SOFTMAX_SELECTED, added=True, dtype="MXFP4"),
    norm_router(512, 16, 4, "read by others", shared=True),
    norm_router(512, 16, 4, "read by others, no cast", shared=True, dtype="F16"),
    norm_router(512, 16, 4, "no cast", dtype="F32"),
    norm_router(512, 16, 4, "two terms", dtype="Q8_0"),
    norm_router(512, 16, 4, "a slice", start=4),
    norm_router(512, 16, 4, "a slice that isn't aligned", start=3),
    norm_router(512, 16, 4, "in groups", params={"n_group": 4, "n_group_used": 2}),
    norm_router(8224, 4, 2, "too long"),
]

# Groups


def groups(n_tok: int, n_used: int, n_expert: int, size: int) -> Build:
    def build(g: Graph) -> Tensor:
        return g.moe_group(g.input("ids", (n_tok, n_used)), n_expert, size)

    return build


def group(
    n_tok: int,
    n_used: int,
    n_expert: int,
    size: int,
    ids: Draw | None = None,
    how: str = "anywhere",
) -> Case:
    name = f"moe_group {n_tok}x{n_used} pairs of {n_expert} experts by {size}, {how}"
    build = groups(n_tok, n_used, n_expert, size)
    return Case(name, build, {"ids": ids or integers(0, n_expert)})


def one_each(n_expert: int) -> Draw:
    """Different experts for each token."""

    def draw(rng: np.random.Generator, t: Tensor) -> Array:
        rows = np.broadcast_to(np.arange(n_expert, dtype=np.int32), (t.shape[0], n_expert))
        return np.ascontiguousarray(rng.permuted(rows, axis=1)[:, : t.shape[1]])

    return draw


GROUPS = [
    *(group(t, k, n, size) for t, k, n, size in ((1, 1, 8, 32), (9, 8, 128, 32), (33, 4, 60, 32))),
    group(257, 16, 512, 64, one_each(512), "each once a token"),
    group(4096, 8, 16, 64, one_each(16), "each once a token"),
    *(group(t, 2, 8, 32, values(e), f"all on {e}") for t in (1, 16, 300) for e in (0, 7)),
    group(5, 1, 512, 32, distinct(512), "far apart"),
]

# Sums and biases


def weighted_sum(n_tok: int, n_used: int, n: int) -> Build:
    def build(g: Graph) -> Tensor:
        x = g.input("x", (n_tok, n_used, n), F32)
        return g.moe_sum(x, g.input("w", (n_tok, n_used), F32))

    return build


def plus_residual(g: Graph) -> Tensor:
    residual = g.view(g.input("residual", (5, 70), F32), 4, 52)
    return g.add(weighted_sum(5, 3, 48)(g), residual)


def plus_row(g: Graph) -> Tensor:
    """What the sum's kernel does not add."""
    return g.add(weighted_sum(5, 3, 48)(g), g.weight("b", (48,), F32))


def two_sums(g: Graph) -> Tensor:
    """Routed experts beside a shared one with a gate."""
    shared = g.moe_sum(g.input("s", (5, 1, 48), F32), g.input("gate", (5, 1), F32))
    return g.add(weighted_sum(5, 3, 48)(g), shared)


def of_slices(start: int) -> Build:
    def build(g: Graph) -> Tensor:
        x = g.view(g.input("x", (4, 6, 40), F32), start, start + 24)
        return g.moe_sum(x, g.view(g.input("w", (4, 9), F32), 2, 8))

    return build


def biases(n_tok: int, n_used: int, n: int, start: int = 0) -> Build:
    def build(g: Graph) -> Tensor:
        x = g.view(g.input("x", (n_tok, n_used, n + start), F32), start, start + n)
        return g.add_id(x, g.weight("b", (10, n), F32), g.input("ids", (n_tok, n_used)))

    return build


SUMS = [
    *(
        Case(f"moe_sum {t}x{k}x{n}", weighted_sum(t, k, n))
        for t, k, n in ((1, 8, 2048), (3, 1, 5), (70, 16, 36), (2, 5, 1030))
    ),
    Case("moe_sum with weights of zero", weighted_sum(3, 4, 32), {"w": values(np.zeros((3, 4)))}),
    Case("moe_sum_add of a residual", plus_residual),
    Case("moe_sum_add of a row for all", plus_row),
    Case("moe_sum_add of another sum", two_sums),
    *(Case(f"moe_sum of slices from {i}", of_slices(i)) for i in (4, 5)),
    *(
        Case(f"add_id {t}x{k}x{n} from {i}", biases(t, k, n, i), {"ids": integers(0, 10)})
        for t, k, n, i in ((1, 4, 64, 0), (9, 2, 33, 0), (5, 3, 32, 8), (5, 3, 32, 1))
    ),
]

CASES = [*ROUTERS, *NORMED, *GROUPS, *SUMS]
