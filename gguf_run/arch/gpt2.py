"""GPT-2 and StarCoder (arXiv:2305.06161): learned positions, layer norms, biases, GELU; StarCoder
has one KV head."""

from __future__ import annotations

from functools import partial

from gguf_run.arch.attention import attention, learned_positions
from gguf_run.arch.blocks import embed, head, layer_norm, mlp
from gguf_run.arch.builder import Builder
from gguf_run.arch.layers import pre_norm
from gguf_run.arch.registry import architecture
from gguf_run.graph import Tensor


@architecture("gpt2", "starcoder")
def gpt2(b: Builder) -> Tensor:
    x = b.g.add(embed(b), learned_positions(b))
    x = pre_norm(b, x, partial(attention, rope=None), mlp, norm=layer_norm)
    return head(b, x, layer_norm)
