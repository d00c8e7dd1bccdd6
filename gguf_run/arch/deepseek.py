"""DeepSeek's first mixture of experts (arXiv:2401.06066): Llama whose later layers have
fine-grained experts beside shared ones; dots.llm1 (arXiv:2506.05767) normalises q and k."""

from __future__ import annotations

from gguf_run.arch.attention import rope_factors, roped
from gguf_run.arch.blocks import embed, head
from gguf_run.arch.builder import Builder
from gguf_run.arch.layers import pre_norm
from gguf_run.arch.moe import dense_then_experts, router, router_by_keys
from gguf_run.arch.registry import architecture
from gguf_run.graph import Gating, RopeMode, Tensor


@architecture("deepseek")
def deepseek(b: Builder) -> Tensor:
    attend = roped(b, RopeMode.NORM, rope_factors(b))
    return head(b, pre_norm(b, embed(b), attend, deepseek_ffn))


@architecture("dots1")
def dots1(b: Builder) -> Tensor:
    return head(b, pre_norm(b, embed(b), roped(b, RopeMode.NEOX), dots1_ffn))


def deepseek_ffn(b: Builder, x: Tensor, il: int) -> Tensor:
    """Weights are not normalised."""
    scale = b.hp.keys.number("expert_weights_scale", 1.0)
    return dense_then_experts(b, x, il, router(b, normalise=False, scale=scale))


def dots1_ffn(b: Builder, x: Tensor, il: int) -> Tensor:
    return dense_then_experts(b, x, il, router_by_keys(b, Gating.SOFTMAX))
