"""DeepSeek V2 and V3 (arXiv:2405.04434, arXiv:2412.19437): latent attention, a few dense layers,
then fine-grained experts beside shared ones, chosen within the best groups in V3; and Mistral's
fourth generation, which is made alike."""

from __future__ import annotations

from functools import partial

from gguf_run.arch.blocks import embed, head
from gguf_run.arch.builder import Builder
from gguf_run.arch.layers import pre_norm
from gguf_run.arch.mla import latent, latent_attention
from gguf_run.arch.moe import dense_then_experts, router_by_keys
from gguf_run.arch.registry import architecture
from gguf_run.graph import Gating, Tensor

SIGMOID_SHAPES = ((47, 154880), (48, 154880))
"""Layers and tokens of the models whose files don't name their sigmoids."""


@architecture("deepseek2")
def deepseek2(b: Builder) -> Tensor:
    attend = partial(latent_attention, m=latent(b, whole_scores=True))
    return head(b, pre_norm(b, embed(b), attend, deepseek2_ffn))


@architecture("mistral4")
def mistral4(b: Builder) -> Tensor:
    attend = partial(latent_attention, m=latent(b, whole_scores=False))
    return head(b, pre_norm(b, embed(b), attend, deepseek2_ffn))


def deepseek2_ffn(b: Builder, x: Tensor, il: int) -> Tensor:
    sigmoid = (b.hp.n_layer, b.hp.n_vocab) in SIGMOID_SHAPES
    params = router_by_keys(b, Gating.SIGMOID if sigmoid else Gating.SOFTMAX)
    return dense_then_experts(b, x, il, params)
