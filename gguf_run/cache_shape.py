"""How much room a model's caches have, and of which types they are."""

from __future__ import annotations

from gguf_run.arch import CacheShape
from gguf_run.errors import ModelError
from gguf_run.hparams import HParams
from gguf_run.kv_cache import pages_for, window_pages
from gguf_run.quants import QuantType, quant_type
from gguf_run.states import STATES_PER_SEQUENCE

CACHE_TYPES = ("F32", "F16", "Q8_0", "Q4_0")


def cache_shape(
    hp: HParams,
    n_ctx: int,
    n_batch: int,
    type_k: str | None,
    type_v: str | None,
    default_type: str,
    n_parallel: int = 1,
) -> CacheShape:
    """Room for `n_parallel` sequences of `n_ctx` tokens that grow by up to `n_batch` a step.

    Types are of `CACHE_TYPES`, None what `default_type` says. Raises `ModelError` for others.
    """
    return CacheShape(
        n_page=pages_for(n_ctx) * n_parallel,
        n_ctx=n_ctx,
        type_k=_cache_type(type_k or default_type),
        type_v=_cache_type(type_v or default_type),
        # All heads read one small vector, so all have the same rounding error of it: in F16 it
        # is large enough to change which experts a token goes to.
        type_latent=_cache_type(type_k or "F32"),
        n_state=STATES_PER_SEQUENCE * n_parallel,
        n_page_window=window_pages(hp.window, n_batch, n_ctx) * n_parallel,
    )


def _cache_type(name: str) -> QuantType:
    if name.upper() not in CACHE_TYPES:
        raise ModelError(f"KV cache type: expected one of {', '.join(CACHE_TYPES)}, found {name!r}")
    return quant_type(name.upper())
