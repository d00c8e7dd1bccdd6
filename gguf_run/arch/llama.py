"""Llama 1 to 3 (arXiv:2302.13971, arXiv:2407.21783) and the many models exported as `llama`."""

from __future__ import annotations

from gguf_run.arch.blocks import rope_factors, rope_params, transformer
from gguf_run.arch.builder import Builder
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
    return transformer(b, rope_params(b, RopeMode.NORM), rope_factors(b))
