"""SmallThinker (arXiv:2507.20984): the router chooses by what a layer gets, before its attention,
so that experts can be fetched meanwhile; of four layers the first sees all, without positions."""

from __future__ import annotations

from functools import partial

from gguf_run.arch.attention import attention, attention_params, rope_params, window
from gguf_run.arch.blocks import embed, head, linear, rms_norm
from gguf_run.arch.builder import Builder
from gguf_run.arch.moe import experts, router_by_keys
from gguf_run.arch.registry import architecture
from gguf_run.graph import Gating, RopeMode, Tensor

PERIOD = 4


@architecture("smallthinker")
def smallthinker(b: Builder) -> Tensor:
    keys, g, x = b.hp.keys, b.g, embed(b)
    rope = rope_params(b, RopeMode.NEOX)
    params = router_by_keys(b, Gating.SOFTMAX, normalise=True)
    n_expert, n_ff = keys.integer("expert_count"), keys.integer("expert_feed_forward_length")
    for il in range(b.hp.n_layer):
        rotates = b.hp.window == 0 or il % PERIOD != 0
        scores = attention_params(b, window(b, il, PERIOD, first=True))
        attend = partial(attention, rope=rope if rotates else None, params=scores)
        logits = linear(b, x, f"blk.{il}.ffn_gate_inp", n_expert)
        x = g.add(x, attend(b, rms_norm(b, x, f"blk.{il}.attn_norm"), il))
        normed = rms_norm(b, x, f"blk.{il}.ffn_norm")
        x = g.add(x, experts(b, normed, il, params, n_ff, reglu, logits))
    return head(b, x)


def reglu(b: Builder, gate: Tensor, up: Tensor) -> Tensor:
    return b.g.glu("reglu", gate, up)
