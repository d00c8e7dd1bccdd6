"""LFM2 (arXiv:2511.23404): most layers have a short gated convolution in place of attention; dense
or with experts that are chosen by sigmoids plus a bias."""

from __future__ import annotations

from dataclasses import replace

from gguf_run.arch.attention import roped
from gguf_run.arch.blocks import embed, ffn, head, linear
from gguf_run.arch.builder import Builder
from gguf_run.arch.delta import convolve
from gguf_run.arch.layers import pre_norm
from gguf_run.arch.moe import experts, has_experts, router_by_keys
from gguf_run.arch.registry import architecture
from gguf_run.graph import Gating, RopeMode, Tensor


@architecture("lfm2", "lfm2moe")
def lfm2(b: Builder) -> Tensor:
    attend = roped(b, RopeMode.NEOX)

    def mix(b: Builder, x: Tensor, il: int) -> Tensor:
        return attend(b, x, il) if b.hp.n_head_kv[il] else short_convolution(b, x, il)

    x = pre_norm(b, embed(b), mix, lfm2_ffn)
    return head(b, x, name="token_embd_norm")


def short_convolution(b: Builder, x: Tensor, il: int) -> Tensor:
    """out(c * conv(b * x)), a channel by itself, with b, c and x products of the input."""
    g, n, name = b.g, b.hp.n_embd, f"blk.{il}.shortconv"
    n_tap = b.hp.keys.integer("shortconv.l_cache", low=2)
    all_three = linear(b, x, f"{name}.in_proj", 3 * n)
    before, after, inner = (g.view(all_three, i * n, (i + 1) * n) for i in range(3))
    w = b.weight(f"{name}.conv.weight", n, n_tap)
    convolved = convolve(b, il, g.mul(before, inner), w)
    return linear(b, g.mul(after, convolved), f"{name}.out_proj", n)


def lfm2_ffn(b: Builder, x: Tensor, il: int) -> Tensor:
    keys = b.hp.keys
    if not has_experts(b) or il < keys.integer("leading_dense_block_count", 0, low=0):
        return ffn(b, x, il)
    params = replace(router_by_keys(b, Gating.SIGMOID), normalise=True, scale=1.0)
    return experts(b, x, il, params, keys.integer("expert_feed_forward_length"))
