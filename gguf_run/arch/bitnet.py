"""BitNet b1.58 (arXiv:2402.17764, arXiv:2504.12285): Llama with another norm before each output
projection."""

from __future__ import annotations

from gguf_run.arch.attention import attend, attention_params, qkv_heads, rope_params
from gguf_run.arch.blocks import embed, head, linear, rms_norm
from gguf_run.arch.builder import Builder
from gguf_run.arch.layers import pre_norm
from gguf_run.arch.registry import architecture
from gguf_run.graph import RopeMode, Tensor


@architecture("bitnet")
def bitnet(b: Builder) -> Tensor:
    return head(b, pre_norm(b, embed(b), bitnet_attention, bitnet_ffn))


def bitnet_attention(b: Builder, x: Tensor, il: int) -> Tensor:
    rope = rope_params(b, RopeMode.NEOX)
    q, k, v = qkv_heads(b, x, il)
    q, k = b.g.rope(q, b.positions, rope), b.g.rope(k, b.positions, rope)
    found = attend(b, q, k, v, il, attention_params(b))
    normed = rms_norm(b, found, f"blk.{il}.attn_sub_norm")
    return linear(b, normed, f"blk.{il}.attn_output", b.hp.n_embd)


def bitnet_ffn(b: Builder, x: Tensor, il: int) -> Tensor:
    n_ff, name = b.hp.n_ff[il], f"blk.{il}.ffn"
    gate, up = linear(b, x, f"{name}_gate", n_ff), linear(b, x, f"{name}_up", n_ff)
    hidden = rms_norm(b, b.g.glu("swiglu", gate, up), f"{name}_sub_norm")
    return linear(b, hidden, f"{name}_down", b.hp.n_embd)
