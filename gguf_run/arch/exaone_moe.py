"""K-EXAONE: windows and positions in three of four layers, q and k normalised by
head, fine-grained experts beside shared ones."""

from __future__ import annotations

from gguf_run.arch.attention import attention_params, rope_factors, rope_params, window, windowed
from gguf_run.arch.blocks import embed, head
from gguf_run.arch.builder import Builder
from gguf_run.arch.layers import pre_norm
from gguf_run.arch.moe import dense_then_experts, router_by_keys
from gguf_run.arch.registry import architecture
from gguf_run.graph import AttentionParams, Gating, RopeMode, Tensor


@architecture("exaone-moe")
def exaone_moe(b: Builder) -> Tensor:
    rope, factors = rope_params(b, RopeMode.NEOX), rope_factors(b)

    def params(il: int) -> AttentionParams:
        return attention_params(b, window(b, il, 4, default=128))

    attend = windowed(None, rope, params, factors)
    return head(b, pre_norm(b, embed(b), attend, exaone_moe_ffn))


def exaone_moe_ffn(b: Builder, x: Tensor, il: int) -> Tensor:
    return dense_then_experts(b, x, il, router_by_keys(b, Gating.SIGMOID))
