"""Products of one x in one launch: few rows alone would leave most of a GPU idle."""

from __future__ import annotations

from gguf_run.cuda.device import Device
from gguf_run.cuda.lowering import Lowering, accepts, lowering, workspace
from gguf_run.cuda.ops.mul_mat_few import Few, few_workspace, launch_few, takes
from gguf_run.cuda.ops.mul_mat_wgmma import launch_wgmma, wgmma_workspace
from gguf_run.cuda.ops.product import Product, products_of
from gguf_run.graph import F16_TILES, GLU_OPS, Tensor
from gguf_run.plan import Step


def _few(parts: tuple[Tensor, ...]) -> Few | None:
    """A group of few tokens: up to three products with a row each behind them, or gate and up."""
    products: list[Product] | None
    if parts[-1].op in GLU_OPS:
        gate, up = parts[-1].srcs
        if {gate, up} != set(parts[:-1]) or gate.shape != up.shape:
            return None
        products = [Product(t.srcs[0], t.srcs[1], parts[-1]) for t in (gate, up)]
        return Few(products, GLU_OPS.index(parts[-1].op))
    products = products_of(parts)
    if products is None or any(p.add_stride for p in products):
        return None
    return Few(products)


def _are_alike(parts: tuple[Tensor, ...]) -> bool:
    """Whether all weights are of one type, and all products of one x."""
    products = [t for t in parts if t.op == "mul_mat"]
    return len({(p.srcs[0].dtype, p.srcs[1]) for p in products}) == 1


@accepts("mul_mats", "mul_mats_glu")
def _accepts(device: Device, parts: tuple[Tensor, ...]) -> bool:
    w, x = next(t for t in parts if t.op == "mul_mat").srcs
    if not _are_alike(parts):
        return False
    if x.dtype is F16_TILES:
        return parts[-1].op not in GLU_OPS and products_of(parts) is not None
    return takes(device, w, x) and _few(parts) is not None


@workspace("mul_mats", "mul_mats_glu")
def _workspace(device: Device, parts: tuple[Tensor, ...]) -> int:
    few = _few(parts)
    if few is None or few.x.dtype is F16_TILES:
        return wgmma_workspace(device, products_of(parts) or ())
    return few_workspace(device, few)


@lowering("mul_mats", "mul_mats_glu")
def mul_mats(low: Lowering, step: Step) -> None:
    """Queries, keys and values; of few tokens also gate and up with the gated unit behind them."""
    few = _few(step.parts)
    if few is None or few.x.dtype is F16_TILES:
        launch_wgmma(low, step, products_of(step.parts) or ())
    else:
        launch_few(low, few, low.workspace(step) if few_workspace(low.device, few) else None)
