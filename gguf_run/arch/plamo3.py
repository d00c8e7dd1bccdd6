"""PLaMo 3: sandwich norms, and windows in seven of eight layers."""

from __future__ import annotations

from gguf_run.arch.attention import attention, attention_params, rope_params, window
from gguf_run.arch.blocks import embed, ffn, head, norm_by_either_name
from gguf_run.arch.builder import Builder
from gguf_run.arch.layers import sandwich
from gguf_run.arch.mimo2 import local_rope
from gguf_run.arch.registry import architecture
from gguf_run.graph import RopeMode, Tensor

PERIOD = 8


@architecture("plamo3")
def plamo3(b: Builder) -> Tensor:
    rope = rope_params(b, RopeMode.NEOX)
    local = local_rope(b, rope)

    def attend(b: Builder, x: Tensor, il: int) -> Tensor:
        params = attention_params(b, window(b, il, PERIOD))
        return attention(b, x, il, local if params.window else rope, params=params)

    return head(b, sandwich(b, embed(b), attend, ffn, norm_by_either_name))
