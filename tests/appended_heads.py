"""What stands ahead of attention: heads normalised, rotated, and appended to the cache."""

from __future__ import annotations

from case_data import Draw, normal

from gguf_run.graph import F32, Graph, RopeParams, Tensor
from gguf_run.kv_cache import PAGE_SIZE
from gguf_run.quants import quant_type


def appended(
    g: Graph,
    rows: list[Tensor],
    rope: RopeParams,
    cache: str,
    n_page: int,
    norms: bool,
    factors: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """q, k and v -> q turned, both caches with the rows of k and v, and the positions."""
    q, k, v = rows
    n_tok, n_kv, size = k.shape
    positions, slots = g.input("positions", (n_tok,)), g.input("slots", (n_tok,))
    if norms:
        q, k = (
            g.mul(g.rms_norm(x, 1e-6), g.weight(f"{name}_norm", (size,), F32))
            for name, x in (("q", q), ("k", k))
        )
    divisors = g.weight("factors", (rope.n_dims // 2,), F32) if factors else None
    q, k = g.rope(q, positions, rope, divisors), g.rope(k, positions, rope, divisors)
    shape, dtype = (n_page, n_kv, PAGE_SIZE, size), quant_type(cache)
    keys = g.set_rows(g.cache("k_cache", shape, dtype), k, slots)
    values = g.set_rows(g.cache("v_cache", shape, dtype), v, slots)
    return q, keys, values, positions


def weights_of_heads(norms: bool, factors: bool) -> dict[str, Draw]:
    """The weights that `appended` has, drawn away from zero."""
    drawn = {"q_norm": norms, "k_norm": norms, "factors": factors}
    return {name: normal(2, 0.3) for name, there in drawn.items() if there}
