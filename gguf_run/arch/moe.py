"""Mixtures of experts: the router's parameters, routed experts, shared experts."""

from __future__ import annotations

from collections.abc import Callable

from gguf_run.arch.blocks import ffn, gated_ffn, linear
from gguf_run.arch.builder import Builder
from gguf_run.errors import ModelError
from gguf_run.graph import Gating, RouterParams, Tensor

Glu = Callable[[Builder, Tensor, Tensor], Tensor]
"""(builder, gate, up) -> what the experts' down projections get."""

GATINGS = (Gating.SOFTMAX, Gating.SIGMOID, Gating.SOFTMAX_SELECTED, Gating.SQRT_SOFTPLUS)
"""By the file's numbers, from 1 on."""


def swiglu(b: Builder, gate: Tensor, up: Tensor) -> Tensor:
    return b.g.glu("swiglu", gate, up)


def geglu(b: Builder, gate: Tensor, up: Tensor) -> Tensor:
    return b.g.glu("geglu", gate, up)


def has_experts(b: Builder) -> bool:
    """Whether the file says that it has experts."""
    return b.hp.keys.integer("expert_count", 0, low=0) > 0


def router(
    b: Builder, gating: Gating = Gating.SOFTMAX, normalise: bool = True, scale: float = 1.0
) -> RouterParams:
    """The choice of experts: their number and groups as the file says, the rest as given."""
    keys = b.hp.keys
    n_expert = keys.integer("expert_count")
    n_group = keys.integer("expert_group_count", 1, low=0) or 1
    n_group_used = keys.integer("expert_group_used_count", 1, low=0) or 1
    n_used = keys.integer("expert_used_count", high=n_expert)
    candidates = n_expert // n_group * n_group_used
    if n_expert % n_group or n_group_used > n_group or (n_group > 1 and n_used > candidates):
        raise ModelError(
            f"{b.weights.source}: {n_expert} experts in {n_group} groups: expected equal groups, "
            f"{n_used} experts to fit into the {n_group_used} that are used"
        )
    return RouterParams(n_used, gating, normalise, scale or 1.0, n_group, n_group_used)


def router_by_keys(b: Builder, gating: Gating, normalise: bool = False) -> RouterParams:
    """As `router`, with what the file says of scores and weights; `gating` and `normalise` where it
    is silent."""
    keys = b.hp.keys
    number = keys.integer("expert_gating_func", 0, low=0, high=len(GATINGS))
    return router(
        b,
        GATINGS[number - 1] if number else gating,
        keys.flag("expert_weights_norm", normalise),
        keys.number("expert_weights_scale", 1.0),
    )


def choice(
    b: Builder, x: Tensor, il: int, router: RouterParams, logits: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The experts that each row of x (n_tok, n_embd) goes to, and their weights (n_tok, n_used).

    `logits` (n_tok, n_expert) are the router's, if they are not its product with x.
    """
    n_expert = b.hp.keys.integer("expert_count")
    if logits is None:
        logits = linear(b, x, f"blk.{il}.ffn_gate_inp", n_expert)
    name = f"blk.{il}.exp_probs_b"
    bias = b.maybe(f"{name}.bias", n_expert) or b.maybe(name, n_expert)
    ids = b.g.moe_ids(logits, router, bias)
    return ids, b.g.moe_weights(logits, ids, router)


def experts(
    b: Builder,
    x: Tensor,
    il: int,
    router: RouterParams,
    n_ff: int,
    glu: Glu = swiglu,
    logits: Tensor | None = None,
) -> Tensor:
    """Routed experts (arXiv:2401.04088): the weighted sum of the gated feed-forwards chosen for
    each row of x (n_tok, n_embd). Biases are added where the file has them.

    `logits` (n_tok, n_expert) are the router's, if they are not its product with x.
    """
    g, name = b.g, f"blk.{il}.ffn"
    ids, weights = choice(b, x, il, router, logits)
    rows = g.reshape(x, x.shape[0], 1, x.shape[1])
    if b.has(f"{name}_gate_up_exps.weight"):
        both = expert_linear(b, rows, f"{name}_gate_up_exps", 2 * n_ff, ids)
        gate, up = g.view(both, 0, n_ff), g.view(both, n_ff, 2 * n_ff)
    else:
        gate = expert_linear(b, rows, f"{name}_gate_exps", n_ff, ids)
        up = expert_linear(b, rows, f"{name}_up_exps", n_ff, ids)
    found = expert_linear(b, glu(b, gate, up), f"{name}_down_exps", b.hp.n_embd, ids)
    return g.moe_sum(found, weights)


def expert_linear(b: Builder, x: Tensor, name: str, n_out: int, ids: Tensor) -> Tensor:
    """Products of the rows x (n_tok, n_used or 1, n_in) with the experts `ids`, with the biases and
    scales that the file has."""
    n_expert = b.hp.keys.integer("expert_count")
    y = b.g.mul_mat_id(b.weight(f"{name}.weight", n_expert, n_out, x.shape[-1]), x, ids)
    if b.has(f"{name}.scale"):
        y = _scaled_by_expert(b, y, b.column(f"{name}.scale", n_expert), ids)
    bias = b.maybe(f"{name}.bias", n_expert, n_out)
    return y if bias is None else b.g.add_id(y, bias, ids)


def _scaled_by_expert(b: Builder, x: Tensor, scales: Tensor, ids: Tensor) -> Tensor:
    """x (n_tok, n_used, n) times scales (n_expert, 1) of the experts."""
    g, n_row = b.g, ids.n_elements
    factors = g.get_rows(scales, g.reshape(ids, n_row))
    return g.reshape(g.moe_sum(g.reshape(x, n_row, 1, x.shape[2]), factors), *x.shape)


def dense_then_experts(b: Builder, x: Tensor, il: int, router: RouterParams) -> Tensor:
    """The feed-forward of DeepSeek's line: the leading layers are dense, the others have experts
    beside shared ones, which are as one of their widths together."""
    keys = b.hp.keys
    if il < keys.integer("leading_dense_block_count", 0, low=0):
        return ffn(b, x, il)
    n_ff = keys.integer("expert_feed_forward_length")
    routed = experts(b, x, il, router, n_ff)
    n_shared = keys.integer("expert_shared_count", 0, low=0)
    return b.g.add(routed, shared_expert(b, x, il, n_ff * n_shared)) if n_shared else routed


def shared_expert(b: Builder, x: Tensor, il: int, n_ff: int) -> Tensor:
    """The expert that every token goes to (arXiv:2401.06066)."""
    return gated_ffn(b, x, f"blk.{il}.ffn", n_ff, suffix="_shexp")


def experts_and_gated_shared(b: Builder, x: Tensor, il: int, router: RouterParams) -> Tensor:
    """Routed experts plus the gated shared expert, with their widths as the file says."""
    keys, n_ff = b.hp.keys, b.hp.n_ff[il]
    n_routed = keys.integer("expert_feed_forward_length", n_ff // router.n_used)
    n_shared = keys.integer("expert_shared_feed_forward_length", n_ff, low=0) or n_ff
    routed = experts(b, x, il, router, n_routed)
    return b.g.add(routed, gated_shared_expert(b, x, il, n_shared))


def gated_shared_expert(b: Builder, x: Tensor, il: int, n_ff: int) -> Tensor:
    """The shared expert times sigmoid(x . gate), a number a token."""
    g, n_tok = b.g, x.shape[0]
    gate = g.mul_mat(b.weight(f"blk.{il}.ffn_gate_inp_shexp.weight", 1, x.shape[1]), x)
    found = g.reshape(shared_expert(b, x, il, n_ff), n_tok, 1, b.hp.n_embd)
    return g.moe_sum(found, g.unary("sigmoid", gate))
