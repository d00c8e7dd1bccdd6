"""One token's norm and its router in one kernel."""

from __future__ import annotations

from dataclasses import dataclass

from gguf_run.cuda import tuning
from gguf_run.cuda.device import Device
from gguf_run.cuda.lowering import Lowering, accepts, kernel_module, lowering
from gguf_run.graph import F32, Q8_1, Q16_1, Kind, NormParams, Tensor
from gguf_run.plan import Step

THREADS = 256
LOADS = (2, 8)
"""Times four numbers that a thread has of a row."""

MAX_ROWS = 512
"""Rows of a router: a block each."""

MIN_COLUMNS = 512
"""Shorter rows leave most threads of those blocks without work, and each computes the norm."""

ROUTER = kernel_module("norm_router.cu", [f"norm_router_f32<{n}>" for n in LOADS])


@dataclass(frozen=True, slots=True)
class _Work:
    """What a group computes (kernels/norm_router.cu)."""

    x: Tensor
    norm: Tensor
    eps: float
    normed: Tensor
    cast: Tensor | None
    w: Tensor
    add: Tensor | None
    logits: Tensor


def _work(parts: tuple[Tensor, ...]) -> _Work | None:
    """The group as one launch, or None where it is none that the kernel can do."""
    of = {t.op: t for t in parts}
    inner, normed, product = (of[op] for op in ("rms_norm", "mul", "mul_mat"))
    cast = of.get("cast")
    assert isinstance(inner.params, NormParams)
    norm = normed.srcs[1] if normed.srcs[0] is inner else normed.srcs[0]
    logits, add = of.get("add", product), None
    if logits is not product:
        add = logits.srcs[1] if logits.srcs[0] is product else logits.srcs[0]
    w, x = product.srcs[0], inner.srcs[0]
    rows = [t for t in (norm, add) if t is not None]
    ok = all(t.kind is Kind.WEIGHT and len(t.shape) == 1 and t.dtype is F32 for t in rows)
    ok = ok and product.srcs[1] is normed and logits.shape == product.shape
    ok = ok and w.kind is Kind.WEIGHT and w.dtype is F32 and w.shape[0] <= MAX_ROWS
    ok = ok and (cast is None or (cast.srcs[0] is normed and cast.dtype in (Q8_1, Q16_1)))
    work = _Work(x, norm, inner.params.eps, normed, cast, w, add, logits)
    return work if ok and _is_one_token(work) else None


def _is_one_token(work: _Work) -> bool:
    x, n = work.x, work.w.shape[1]
    ok = x.dtype is F32 and x.is_contiguous and x.offset % 4 == 0 and n % 32 == 0
    ok = ok and MIN_COLUMNS <= n <= 4 * THREADS * LOADS[-1]
    return ok and x.shape == work.normed.shape == (1, n)


@accepts("norm_router")
def _takes(device: Device, parts: tuple[Tensor, ...]) -> bool:
    return _work(parts) is not None


@lowering("norm_router")
def norm_router(low: Lowering, step: Step) -> None:
    """A block a logit (norm_router.cu)."""
    work = _work(step.parts)
    assert work is not None
    n_row, n = work.w.shape
    loads = next(k for k in LOADS if n <= 4 * THREADS * k)
    low.launch(
        ROUTER,
        f"norm_router_f32<{loads}>",
        grid=max(n_row, -(-n // THREADS)),
        block=THREADS,
        pdl=tuning.generation(low.device) == tuning.BULK,
        args=[
            *(low.at(work.x), low.at(work.norm), low.at(work.w)),
            None if work.add is None else low.at(work.add),
            low.at(work.normed) if work.normed in step.outputs else None,
            None if work.cast is None else low.at(work.cast),
            *(low.at(work.logits), n_row, n, work.eps),
            int(work.cast is not None and work.cast.dtype is Q16_1),
        ],
    )
