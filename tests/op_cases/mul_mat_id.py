"""Products with chosen experts: every type, few and many tokens, biases, rows of all sizes."""

from __future__ import annotations

import numpy as np
from case_data import WEIGHT_TYPES, Array, Draw, integers, values
from cases import Build, Case

from gguf_run.graph import F32, Graph, RouterParams, Tensor
from gguf_run.quants import quant_type
from op_cases.moe import one_each

FLOATS = ("F32", "F16", "BF16")
QUANTISED = tuple(name for name in WEIGHT_TYPES if name not in FLOATS)


def chosen(
    dtype: str, n_tok: int, n_used: int, n_expert: int, n_out: int, n_in: int, own_rows: bool
) -> Build:
    """`own_rows`: each expert gets a row of its own, as the down projection does."""

    def build(g: Graph) -> Tensor:
        w = g.weight("w", (n_expert, n_out, n_in), quant_type(dtype))
        x = g.input("x", (n_tok, n_used if own_rows else 1, n_in), F32)
        return g.mul_mat_id(w, x, g.input("ids", (n_tok, n_used)))

    return build


def case(
    dtype: str,
    n_tok: int,
    n_used: int = 2,
    n_expert: int = 5,
    n_out: int = 37,
    n_in: int = 256,
    own_rows: bool = False,
    ids: Draw | None = None,
    how: str = "",
) -> Case:
    name = (
        f"mul_mat_id {dtype} {n_expert}x{n_out}x{n_in}, {n_tok} tokens x {n_used}"
        f"{' own rows' if own_rows else ''}{how}"
    )
    build = chosen(dtype, n_tok, n_used, n_expert, n_out, n_in, own_rows)
    return Case(name, build, {"ids": ids or integers(0, n_expert)})


def with_biases(dtype: str, n_tok: int) -> Build:
    def build(g: Graph) -> Tensor:
        y = chosen(dtype, n_tok, 3, 6, 40, 64, own_rows=True)(g)
        return g.add_id(y, g.weight("b", (6, 40), F32), g.input("ids", (n_tok, 3)))

    return build


def with_other_biases(g: Graph) -> Tensor:
    """Rows that other ids choose: nothing that one kernel can add."""
    y = chosen("Q4_0", 4, 3, 6, 40, 64, own_rows=False)(g)
    return g.add_id(y, g.weight("b", (6, 40), F32), g.input("other", (4, 3)))


def experts(dtype: str, n_tok: int, fused_gate_up: bool, n_expert: int = 8, k: int = 3) -> Build:
    """A whole feed-forward of experts, routed; gate and up as two tensors or as one."""
    n_embd, n_ff = 64, 96

    def build(g: Graph) -> Tensor:
        x = g.input("x", (n_tok, n_embd), F32)
        p = RouterParams(k)
        logits = g.mul_mat(g.weight("router", (n_expert, n_embd), F32), x)
        ids = g.moe_ids(logits, p)
        weights = g.moe_weights(logits, ids, p)
        rows = g.reshape(x, n_tok, 1, n_embd)

        def product(name: str, n_out: int, x: Tensor) -> Tensor:
            w = g.weight(name, (n_expert, n_out, x.shape[2]), quant_type(dtype))
            return g.mul_mat_id(w, x, ids)

        if fused_gate_up:
            both = product("gate_up", 2 * n_ff, rows)
            gate, up = g.view(both, 0, n_ff), g.view(both, n_ff, 2 * n_ff)
        else:
            gate, up = product("gate", n_ff, rows), product("up", n_ff, rows)
        down = product("down", n_embd, g.glu("swiglu", gate, up))
        return g.add(x, g.moe_sum(down, weights))

    return build


def far_from_one(n_tok: int) -> Array:
    """Rows from 1e-20 to 1e20, and one number among them that f16 could not hold."""
    rng = np.random.default_rng(3)
    x = rng.standard_normal((n_tok, 1, 256)).astype(np.float32)
    x *= np.logspace(-20, 20, n_tok, dtype=np.float32)[:, None, None]
    x[n_tok // 2, 0, 5] = 3e5
    return x


CASES = [
    *(case(t, n, own_rows=n == 2) for t in QUANTISED for n in (1, 2)),
    *(case(t, n, own_rows=n == 9) for t in QUANTISED for n in (9, 40)),
    *(
        case(t, n, n_in=k, own_rows=o)
        for t in FLOATS
        for n, k in ((1, 7), (3, 264), (11, 33), (20, 160))
        for o in (False, True)
    ),
    *(case("Q4_0", n, 4, 16, ids=one_each(16), how=" at once") for n in (1, 8, 9, 33)),
    *(case("Q4_0", n, 1, 512, 5, 64) for n in (1, 30)),
    *(
        case("Q8_0", n, 2, 4, 70, 96, ids=values(e), how=f", all on {e}")
        for n in (2, 80)
        for e in (0, 3)
    ),
    case("Q4_0", 1, 8, 16, 96, 2080, own_rows=True),
    case("Q4_K", 130, 2, 4, 130, 256),
    case("F16", 70, 2, 4, 130, 160, own_rows=True),
    *(
        Case(f"mul_mat_id_add {t}, {n} tokens", with_biases(t, n), {"ids": integers(0, 6)})
        for t in ("MXFP4", "F32", "BF16")
        for n in (2, 17)
    ),
    Case(
        "mul_mat_id plus rows of other experts",
        with_other_biases,
        {"ids": integers(0, 6), "other": integers(0, 6)},
    ),
    *(
        Case(f"experts of {t}, {n} tokens{', gate and up in one' if o else ''}", experts(t, n, o))
        for t in ("Q4_0", "F32")
        for n in (1, 12)
        for o in (False, True)
    ),
    *(
        Case(
            f"mul_mat_id {t}, {n} rows far from one",
            chosen(t, n, 2, 3, 20, 256, own_rows=False),
            {"x": values(far_from_one(n)), "ids": integers(0, 3)},
        )
        for t in ("Q4_0", "F16")
        for n in (4, 12)
    ),
]
