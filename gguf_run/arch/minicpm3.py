"""MiniCPM 3 (arXiv:2404.06395): latent attention with LongRoPE, and MiniCPM's factors on the
embedding, on what layers add and on the last hidden state."""

from __future__ import annotations

from functools import partial

from gguf_run.arch.blocks import embed, ffn, head, scaled, squared_relu_mlp
from gguf_run.arch.builder import Builder
from gguf_run.arch.layers import pre_norm
from gguf_run.arch.mla import latent_attention, plain_latent
from gguf_run.arch.registry import architecture
from gguf_run.graph import RopeMode, Tensor

EMBEDDING_SCALE = 12.0
DEPTH_SCALE = 1.4
BASE_WIDTH = 256


@architecture("minicpm3")
def minicpm3(b: Builder) -> Tensor:
    attend = partial(latent_attention, m=plain_latent(b))
    scale = DEPTH_SCALE * b.hp.n_layer**-0.5
    x = pre_norm(b, embed(b, EMBEDDING_SCALE), attend, ffn, residual_scale=scale)
    return scaled(b, head(b, x), BASE_WIDTH / b.hp.n_embd)


@architecture("plm")
def plm(b: Builder) -> Tensor:
    attend = partial(latent_attention, m=plain_latent(b, RopeMode.NORM))
    return head(b, pre_norm(b, embed(b), attend, squared_relu_mlp))
