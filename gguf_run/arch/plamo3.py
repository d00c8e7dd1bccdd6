"""PLaMo 3: sandwich norms, and windows in seven of eight layers."""

from __future__ import annotations

from gguf_run.arch.attention import attention_params, local_rope, rope_params, window, windowed
from gguf_run.arch.blocks import embed, ffn, head, norm_by_either_name
from gguf_run.arch.builder import Builder
from gguf_run.arch.layers import sandwich
from gguf_run.arch.registry import architecture
from gguf_run.graph import AttentionParams, RopeMode, Tensor

PERIOD = 8


@architecture("plamo3")
def plamo3(b: Builder) -> Tensor:
    rope = rope_params(b, RopeMode.NEOX)

    def params(il: int) -> AttentionParams:
        return attention_params(b, window(b, il, PERIOD))

    attend = windowed(rope, local_rope(b, rope), params)
    return head(b, sandwich(b, embed(b), attend, ffn, norm_by_either_name))
