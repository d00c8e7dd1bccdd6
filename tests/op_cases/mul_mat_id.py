"""Products with chosen experts: every type, few and many tokens, biases, rows of all sizes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from case_data import WEIGHT_TYPES, Array, Draw, integers, normal, values
from cases import Build, Case

from gguf_run.cuda.activations import MIN_WGMMA
from gguf_run.graph import F32, GLU_OPS, Gating, GluParams, Graph, RouterParams, Tensor
from gguf_run.quants import quant_type
from op_cases.moe import one_each
from op_cases.mul_mat_wgmma import CUT
from op_cases.stream_mul_mat import ROUNDED

FLOATS = ("F32", "F16", "BF16")
TWO = (False, True)
ON_WGMMA = 1e-6
"""Weights are rounded to f16 there."""
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


@dataclass(frozen=True, slots=True)
class Experts:
    """A whole feed-forward of experts, routed."""

    dtype: str
    n_tok: int
    joint: bool = False
    """Gate and up are one tensor."""
    biased: bool = False
    glu: str = "swiglu"
    residual: bool = True
    n_expert: int = 8
    n_used: int = 3
    n_embd: int = 64
    n_ff: int = 96
    down: str = ""
    """The type of the last product, where it is another."""
    gating: Gating = Gating.SOFTMAX
    n_group: int = 1
    choice_biased: bool = False
    """Experts are chosen by scores with a bias."""

    def __str__(self) -> str:
        how = [self.glu, *["joint"] * self.joint, *["biased"] * self.biased]
        how += ["alone"] * (not self.residual) + ["chosen with a bias"] * self.choice_biased
        how += [f"{self.n_group} groups"] * (self.n_group > 1)
        how += [self.gating.name] * (self.gating is not Gating.SOFTMAX)
        sizes = f"{self.n_used} of {self.n_expert}, {self.n_embd} to {self.n_ff}"
        types = " and ".join(t for t in (self.dtype, self.down) if t)
        return f"experts {types}, {sizes}, {self.n_tok} tokens, {' '.join(how)}"

    def build(self, g: Graph) -> Tensor:
        x = g.input("x", (self.n_tok, self.n_embd), F32)
        p = RouterParams(
            self.n_used, self.gating, n_group=self.n_group, n_group_used=(self.n_group + 1) // 2
        )
        logits = g.mul_mat(g.weight("router", (self.n_expert, self.n_embd), F32), x)
        bias = g.weight("bias", (self.n_expert,), F32) if self.choice_biased else None
        ids = g.moe_ids(logits, p, bias)
        weights = g.moe_weights(logits, ids, p)
        rows = g.reshape(x, self.n_tok, 1, self.n_embd)
        if self.joint:
            both = self._product(g, "gate_up", 2 * self.n_ff, rows, ids)
            gate, up = g.view(both, 0, self.n_ff), g.view(both, self.n_ff, 2 * self.n_ff)
        else:
            gate, up = (self._product(g, n, self.n_ff, rows, ids) for n in ("gate", "up"))
        if self.glu == "swiglu_oai":
            h = g.swiglu_oai(gate, up, GluParams(alpha=1.702, limit=1.0))
        else:
            h = g.glu(self.glu, gate, up)
        y = g.moe_sum(self._product(g, "down", self.n_embd, h, ids), weights)
        return g.add(x, y) if self.residual else y

    def _product(self, g: Graph, name: str, n_out: int, x: Tensor, ids: Tensor) -> Tensor:
        dtype = (name == "down" and self.down) or self.dtype
        w = g.weight(name, (self.n_expert, n_out, x.shape[2]), quant_type(dtype))
        y = g.mul_mat_id(w, x, ids)
        if not self.biased:
            return y
        return g.add_id(y, g.weight(f"{name}.bias", (self.n_expert, n_out), F32), ids)


def far_from_one(n_tok: int) -> Array:
    """Rows from 1e-20 to 1e20, and one number among them that f16 could not hold."""
    rng = np.random.default_rng(3)
    x = rng.standard_normal((n_tok, 1, 256)).astype(np.float32)
    x *= np.logspace(-20, 20, n_tok, dtype=np.float32)[:, None, None]
    x[n_tok // 2, 0, 5] = 3e5
    return x


CASES = [
    *(case(t, n, own_rows=n == 2) for t in QUANTISED for n in (1, 2)),
    *(case(t, n, own_rows=n == 11) for t in QUANTISED for n in (11, 40)),
    *(
        case(t, n, n_in=k, own_rows=o)
        for t in FLOATS
        for n, k in ((1, 7), (3, 264), (11, 33), (20, 160))
        for o in (False, True)
    ),
    *(case("Q4_0", n, 4, 16, ids=one_each(16), how=" at once") for n in (1, 8, 9, 16, 17, 33)),
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
        Case(
            str(e),
            e.build,
            tolerance=ROUNDED if e.n_tok == 1 else ON_WGMMA if e.n_tok >= MIN_WGMMA else 1e-7,
        )
        for e in (
            *(Experts(t, n, j) for t in ("Q4_0", "F32") for n in (1, 12) for j in (False, True)),
            *(Experts(t, 2, n_embd=256, n_ff=256) for t in QUANTISED),
            *(Experts("MXFP4", 2, j, True, "swiglu_oai") for j in (False, True)),
            *(Experts(t, 1, n_embd=256, n_ff=256) for t in QUANTISED),
            *(Experts("MXFP4", 1, j, True, "swiglu_oai") for j in (False, True)),
            *(Experts("Q8_0", 1, glu=glu, residual=False) for glu in GLU_OPS),
            *(Experts("Q4_0", 1, n_expert=20, n_used=k, biased=True) for k in (1, 2, 5, 16, 17)),
            *(
                Experts("Q4_0", 1, n_expert=n, n_ff=32, gating=gating, choice_biased=biased)
                for n in (40, 300)
                for gating in Gating
                for biased in (False, True)
            ),
            *(Experts("Q4_0", 1, n_expert=n, n_used=8, n_ff=32) for n in (128, 129, 256, 257, 512)),
            Experts("Q4_0", 1, n_expert=64, n_ff=32, gating=Gating.SIGMOID, n_group=8),
            Experts("Q4_0", 1, n_expert=320, n_ff=32, n_group=5, choice_biased=True),
            Experts("Q4_0", 1, True, n_embd=96, n_ff=3200, residual=False),
            Experts("Q8_0", 1, n_embd=3200, n_ff=96),
            *(Experts("Q4_0", n, down="Q8_0") for n in (1, 3)),
            Experts("Q8_0", 2, down="Q4_0"),
            Experts("Q4_0", 8, n_expert=20, n_used=16, biased=True, residual=False),
            Experts("Q5_0", 1, n_expert=2, n_used=1, n_embd=96, n_ff=2080),
            Experts("Q4_K", 3, n_used=2, n_embd=256, n_ff=1024, n_expert=3),
            *(Experts(t, 66, n_embd=256, n_ff=256) for t in (*QUANTISED, "F16", "BF16")),
            *(Experts("Q4_0", 66, j, b, n_embd=128, n_ff=128) for j in TWO for b in TWO),
            *(Experts("Q4_0", n, n_expert=2, n_used=1, n_embd=256, n_ff=128) for n in (128, 400)),
            Experts("Q8_0", 70, True, True, "swiglu_oai", n_embd=384, n_ff=128),
            Experts("Q4_0", 70, down="Q8_0", n_embd=128, n_ff=96),
        )
    ),
    *(
        Case(f"{e}, beyond 10^6", e.build, {"x": normal(0, 1000)}, tolerance=CUT)
        for e in (Experts(t, 66, n_embd=128, n_ff=128) for t in ("Q4_0", "F16"))
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
