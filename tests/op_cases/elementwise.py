"""Sums, products, scaling, soft and hard caps: sizes, one row for all, views."""

from __future__ import annotations

from case_data import normal
from cases import Build, Case

from gguf_run.graph import F32, Graph, Tensor

SHAPES = ((1,), (7,), (3, 1), (5, 63), (2, 1024), (300, 8), (2, 3, 20), (1, 70001))


def binary(op: str, *shape: int, row: bool = False) -> Build:
    def build(g: Graph) -> Tensor:
        a, b = g.input("a", shape, F32), g.input("b", shape[-1:] if row else shape, F32)
        return g.add(a, b) if op == "add" else g.mul(a, b)

    return build


def unary(op: str, *shape: int, value: float = -0.37) -> Build:
    def build(g: Graph) -> Tensor:
        x = g.input("x", shape, F32)
        return {"scale": g.scale, "softcap": g.softcap, "clamp": g.clamp}[op](x, value)

    return build


def scale_and_bias(g: Graph) -> Tensor:
    return g.scale(g.input("x", (5, 63), F32), 0.3, bias=-1.7)


def of_slices(start: int, row: bool) -> Build:
    """Operands whose rows lie at different strides; a bias that is a slice as well."""

    def build(g: Graph) -> Tensor:
        a = g.view(g.input("a", (9, 100), F32), start, start + 24)
        b = g.input("b", (60,), F32) if row else g.input("b", (9, 60), F32)
        return g.add(a, g.view(b, 16, 40))

    return build


def of_slices_of_heads(g: Graph) -> Tensor:
    """Rows at two strides beside rows without gaps."""
    heads = g.reshape(g.view(g.input("x", (5, 100), F32), 20, 80), 5, 3, 20)
    return g.mul(g.scale(g.view(heads, 4, 16), 0.5), g.input("b", (5, 3, 12), F32))


def biased_heads(g: Graph) -> Tensor:
    heads = g.reshape(g.view(g.input("x", (5, 100), F32), 20, 80), 5, 3, 20)
    return g.add(heads, g.weight("b", (20,), F32))


def itself(g: Graph) -> Tensor:
    x = g.input("x", (4, 36), F32)
    return g.mul(x, x)


CASES = [
    Case("scale and bias", scale_and_bias),
    *(
        Case(f"{op} {'x'.join(map(str, shape))}", binary(op, *shape))
        for op in ("add", "mul")
        for shape in SHAPES
    ),
    *(
        Case(f"{op} of one row to {'x'.join(map(str, shape))}", binary(op, *shape, row=True))
        for op in ("add", "mul")
        for shape in ((1, 5), (4, 260), (70000, 1), (3, 2, 32), (3, 1030))
    ),
    *(
        Case(f"{op} {'x'.join(map(str, shape))}", unary(op, *shape))
        for op in ("scale", "softcap")
        for shape in ((1,), (3, 5), (4, 1024))
    ),
    *(Case(f"clamp {n}", unary("clamp", 3, n, value=0.7)) for n in (5, 1024)),
    Case("softcap of large values", unary("softcap", 2, 64, value=30.0), {"x": normal(0, 1e4)}),
    Case("add of slices", of_slices(12, row=False)),
    Case("add of slices at an odd column", of_slices(13, row=False)),
    Case("add of a slice of a bias", of_slices(12, row=True)),
    Case("mul of slices of heads", of_slices_of_heads),
    Case("add of a bias to heads", biased_heads),
    Case("mul of a tensor by itself", itself),
]
