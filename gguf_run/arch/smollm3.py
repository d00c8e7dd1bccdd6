"""SmolLM 3: Llama in which every fourth layer has no positions (arXiv:2501.18795)."""

from __future__ import annotations

from gguf_run.arch.attention import attention, rope_params
from gguf_run.arch.blocks import embed, ffn, head
from gguf_run.arch.builder import Builder
from gguf_run.arch.layers import pre_norm
from gguf_run.arch.registry import architecture
from gguf_run.graph import RopeMode, Tensor

PERIOD_WITHOUT_ROPE = 4


@architecture("smollm3")
def smollm3(b: Builder) -> Tensor:
    rope = rope_params(b, RopeMode.NORM)

    def attend(b: Builder, x: Tensor, il: int) -> Tensor:
        return attention(b, x, il, rope if (il + 1) % PERIOD_WITHOUT_ROPE else None)

    return head(b, pre_norm(b, embed(b), attend, ffn))
