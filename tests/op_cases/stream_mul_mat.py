"""Products of one token in one kernel with what stands around them."""

from __future__ import annotations

from case_data import normal
from cases import Build, Case

from gguf_run.graph import F32, GLU_OPS, Graph, Tensor
from gguf_run.quants import quant_type

ROUNDED = 1e-5
"""The norm's factor is applied behind the product: a number between two int8 steps may round
otherwise than where it comes before the cast. Such steps are far below 1e-7 for Q16_1."""


def normed(g: Graph, n_in: int, start: int = 0) -> Tensor:
    x = g.view(g.input("x", (1, start + n_in), F32), start, start + n_in)
    return g.mul(g.rms_norm(x, 1e-5), g.weight("norm", (n_in,), F32))


def product(g: Graph, dtype: str, name: str, n_out: int, x: Tensor, bias: bool = False) -> Tensor:
    y = g.mul_mat(g.weight(name, (n_out, x.shape[1]), quant_type(dtype)), x)
    return g.add(y, g.weight(f"{name}.bias", (n_out,), F32)) if bias else y


def three(dtype: str, sizes: tuple[int, int, int], n_in: int, bias: bool, start: int = 0) -> Build:
    def build(g: Graph) -> list[Tensor]:
        x = normed(g, n_in, start)
        pairs = zip("qkv", sizes, strict=True)
        return [product(g, dtype, name, n_out, x, bias) for name, n_out in pairs]

    return build


def gated(dtype: str, op: str, n_ff: int, n_in: int) -> Build:
    def build(g: Graph) -> Tensor:
        x = normed(g, n_in)
        return g.glu(op, product(g, dtype, "gate", n_ff, x), product(g, dtype, "up", n_ff, x))

    return build


def one(dtype: str, n_out: int, n_in: int, bias: bool = False) -> Build:
    def build(g: Graph) -> Tensor:
        return product(g, dtype, "w", n_out, normed(g, n_in), bias)

    return build


def plain(dtype: str, n_out: int, n_in: int, bias: bool, residual: bool) -> Build:
    def build(g: Graph) -> Tensor:
        y = product(g, dtype, "w", n_out, g.input("x", (1, n_in), F32), bias)
        return g.add(g.input("residual", (1, n_out), F32), y) if residual else y

    return build


def heads(g: Graph) -> Tensor:
    """The activations are another look at heads."""
    found = g.scale(g.input("x", (1, 2, 48), F32), 0.5)
    y = product(g, "Q8_0", "w", 40, g.reshape(found, 1, 96))
    return g.add(y, g.input("residual", (1, 40), F32))


def shared_norm(g: Graph) -> list[Tensor]:
    """Two products of a norm that is read elsewhere, too: nothing to take together."""
    x = normed(g, 64)
    return [x, product(g, "Q4_0", "a", 10, x), product(g, "Q4_0", "b", 11, x)]


def two_types(g: Graph) -> list[Tensor]:
    x = normed(g, 256)
    return [product(g, t, t, 9, x) for t in ("Q4_K", "Q6_K")]


def two_forms(g: Graph) -> list[Tensor]:
    """Types that take their activations differently."""
    x = normed(g, 64)
    return [product(g, t, t, 9, x) for t in ("Q4_0", "Q8_0")]


def twice_itself(g: Graph) -> Tensor:
    y = product(g, "Q4_0", "w", 33, g.input("x", (1, 64), F32))
    return g.add(y, y)


def case(name: str, build: Build, seed: int = 0) -> Case:
    g = Graph()
    build(g)
    data = {t.name: normal(1, 0.3) for t in g.leaves if t.name == "norm"}
    is_fine = all(t.dtype.name in ("Q8_0", "BF16", "F16", "F32") for t in g.leaves)
    return Case(f"stream_mul_mat {name}", build, data, 1e-7 if is_fine else ROUNDED, seed)


LEGACY = ("Q4_0", "Q8_0", "BF16")

CASES = [
    *(
        case(f"{t}, q k v of {sizes} x {n_in}{', biases' * bias}", three(t, sizes, n_in, bias))
        for t in LEGACY
        for sizes, n_in, bias in (
            ((96, 32, 32), 96, False),
            ((7, 3, 5), 64, True),
            ((200, 40, 40), 1056, True),
            ((50, 10, 1), 2080, False),
        )
    ),
    *(
        case(f"{t}, {op} of {n_ff} x {n_in}", gated(t, op, n_ff, n_in))
        for t in LEGACY
        for op, n_ff, n_in in (
            ("swiglu", 200, 96),
            ("geglu", 3, 1024),
            *((op, 33, 2080) for op in GLU_OPS),
        )
    ),
    *(
        case(
            f"{t}, a norm and {n_out} x {n_in}{', bias' * bias}", one(t, n_out, n_in, bias), seed=2
        )
        for t in LEGACY
        for n_out, n_in, bias in ((1, 32, False), (333, 160, True), (700, 4160, False))
    ),
    *(
        case(
            f"{t}, {n_out} x {n_in}{', bias' * bias}{', residual' * residual}",
            plain(t, n_out, n_in, bias, residual),
        )
        for t in LEGACY
        for n_out, n_in, bias, residual in (
            (5, 96, False, True),
            (130, 2080, True, True),
            (64, 1024, True, False),
            (40, 10016, False, False),
            (24, 17408, False, True),
        )
    ),
    case("F16, q k v", three("F16", (96, 32, 33), 1056, False)),
    case("F16, a row of no whole blocks", one("F16", 9, 40)),
    case("heads", heads),
    case("shared norm", shared_norm),
    case("two types", two_types),
    case("two forms", two_forms),
    case("twice itself", twice_itself),
    case("x not aligned", three("Q4_0", (9, 9, 9), 96, False, start=3)),
    case("x behind others", three("Q4_0", (9, 9, 9), 96, False, start=8)),
]
