"""Arctic: experts work on what a layer gets, beside its attention and its dense feed-forward."""

from __future__ import annotations

from gguf_run.arch.attention import roped
from gguf_run.arch.blocks import embed, gated_ffn, head, rms_norm
from gguf_run.arch.builder import Builder
from gguf_run.arch.moe import experts, router
from gguf_run.arch.registry import architecture
from gguf_run.graph import RopeMode, Tensor


@architecture("arctic")
def arctic(b: Builder) -> Tensor:
    x, attend, params = embed(b), roped(b, RopeMode.NORM), router(b)
    for il in range(b.hp.n_layer):
        name = f"blk.{il}"
        routed = experts(b, rms_norm(b, x, f"{name}.ffn_norm_exps"), il, params, b.hp.n_ff[il])
        x = b.g.add(x, attend(b, rms_norm(b, x, f"{name}.attn_norm"), il))
        dense = gated_ffn(b, rms_norm(b, x, f"{name}.ffn_norm"), f"{name}.ffn", b.hp.n_embd)
        x = b.g.add(b.g.add(x, dense), routed)
    return head(b, x)
