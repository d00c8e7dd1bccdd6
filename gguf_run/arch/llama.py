"""Llama 1 to 3 (arXiv:2302.13971, arXiv:2407.21783), Mixtral (arXiv:2401.04088), and the many
models exported as `llama`."""

from __future__ import annotations

from gguf_run.arch.attention import rope_factors, roped
from gguf_run.arch.blocks import embed, ffn, head
from gguf_run.arch.builder import Builder
from gguf_run.arch.layers import pre_norm
from gguf_run.arch.moe import experts, has_experts, router
from gguf_run.arch.registry import architecture
from gguf_run.errors import ModelError
from gguf_run.graph import RopeMode, Tensor


@architecture("llama")
def llama(b: Builder) -> Tensor:
    """RoPE over whole heads in neighbouring pairs; Llama 3.1's factors; biases where present."""
    if b.hp.n_rot != b.hp.head_dim_k:
        raise ModelError(
            f"{b.weights.source}: key llama.rope.dimension_count: expected the head size "
            f"{b.hp.head_dim_k}, found {b.hp.n_rot}"
        )
    attend = roped(b, RopeMode.NORM, rope_factors(b))
    return head(b, pre_norm(b, embed(b), attend, mixtral_ffn if has_experts(b) else ffn))


def mixtral_ffn(b: Builder, x: Tensor, il: int) -> Tensor:
    """Experts as wide as the file's feed-forward."""
    return experts(b, x, il, router(b), b.hp.n_ff[il])
