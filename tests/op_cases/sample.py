"""Draws by a chain of samplers: its steps, ties, extremes, large vocabularies."""

from __future__ import annotations

import numpy as np
from case_data import Array, Draw, integers, normal, values
from cases import Build, Case

from gguf_run.graph import F32, I32, Graph, Tensor
from gguf_run.graph_ops import SAMPLER

OFF = dict(zip(SAMPLER, (256, 0, 2, -np.inf, 1, 1, 0, 0), strict=True))
DEFAULTS = {**OFF, "top_k": 40, "top_p": 0.95, "log_min_p": np.log(0.05), "temperature": 0.8}
PENALTIES = {"repeat": 1.3, "frequency": 0.2, "presence": -0.1}
NEVER = -float("inf")
PART = 2048
"""Columns that a block of the kernel looks at."""


def sample(n_row: int, n_col: int, op: str) -> Build:
    def build(g: Graph) -> Tensor:
        return g.sample(
            g.input("x", (n_row, n_col), F32),
            g.input("bias", (n_row, n_col), F32),
            g.input("counts", (n_row, n_col), I32),
            g.input("sampler", (n_row, len(SAMPLER)), F32),
            g.input("draw", (n_row, 2), I32),
            op,
        )

    return build


def case(
    name: str, n_row: int, n_col: int, x: Draw | None = None, op: str = "sample", **sampler: float
) -> Case:
    data = {
        "x": x or normal(0, 3),
        "counts": few,
        "sampler": values([{**OFF, **sampler}[field] for field in SAMPLER]),
        "draw": integers(-(2**31), 2**31),
    }
    return Case(f"{op} {name} {n_row}x{n_col}", sample(n_row, n_col, op), data)


def few(rng: np.random.Generator, t: Tensor) -> Array:
    """Most tokens are not in the recent text."""
    return np.maximum(0, rng.integers(-20, 4, t.shape)).astype(np.int32)


def ties(rng: np.random.Generator, t: Tensor) -> Array:
    return rng.integers(-3, 3, t.shape).astype(np.float32) * np.float32(0.5)


def in_few_parts(rng: np.random.Generator, t: Tensor) -> Array:
    """All that is likely lies where one warp of the second launch looks."""
    x = rng.standard_normal(t.shape).astype(np.float32)
    for part in (0, 32, 64):
        x[:, part * PART : (part + 1) * PART] += 20
    return x


CASES = [
    *(case("all off", n_row, n_col) for n_row, n_col in ((1, 1), (3, 31), (2, 300), (1, 5000))),
    *(case("default", n_row, n_col, **DEFAULTS) for n_row, n_col in ((2, 384), (3, 2049))),
    case("likeliest", 3, 5000, top_k=1, **PENALTIES),
    case("penalties", 3, 3000, **DEFAULTS | PENALTIES),
    case("min_keep", 4, 700, top_k=100, top_p=0.1, log_min_p=-0.1, min_keep=60),
    case("top_p 0", 2, 700, top_p=0),
    case("hot", 4, 5000, **DEFAULTS | {"temperature": 5}),
    case("cold", 2, 5000, **DEFAULTS | {"temperature": 1e-40}),
    case("equal logits", 4, 6000, ties, **DEFAULTS | {"top_k": 200, "top_p": 0.5}),
    case("one logit", 2, 5000, values(1.5), top_k=50),
    case("steep rows", 4, 5000, normal(1e4, 3e4), **DEFAULTS),
    case("tiny logits", 4, 500, normal(0, 1e-39), **DEFAULTS),
    case("nothing allowed", 2, 400, values(NEVER), **DEFAULTS),
    case("large vocabulary", 1, 151936, **DEFAULTS),
    case("likely tokens side by side", 1, 139264, in_few_parts, top_k=250, top_p=0.9),
    *(
        case("alone", n_row, n_col, op="sample_all")
        for n_row, n_col in ((1, 1), (3, 31), (2, 2049), (1, 151936))
    ),
    case("min_p", 8, 5000, op="sample_all", log_min_p=np.log(0.05), temperature=0.7),
    case("penalties", 4, 5000, op="sample_all", **PENALTIES),
    case("equal logits", 4, 5000, values(1.5), op="sample_all"),
    case("steep rows", 4, 5000, normal(1e4, 3e4), op="sample_all", temperature=1e4),
    case("cold", 2, 5000, op="sample_all", temperature=1e-40),
    case("nothing allowed", 2, 400, values(NEVER), op="sample_all"),
]
