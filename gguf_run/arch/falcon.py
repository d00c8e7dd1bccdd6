"""Falcon (arXiv:2311.16867): attention and feed-forward side by side, few KV heads; the 40B gives
each its own norm."""

from __future__ import annotations

from gguf_run.arch.attention import roped
from gguf_run.arch.blocks import embed, head, layer_norm, mlp
from gguf_run.arch.builder import Builder
from gguf_run.arch.registry import architecture
from gguf_run.graph import RopeMode, Tensor


@architecture("falcon")
def falcon(b: Builder) -> Tensor:
    attend, x = roped(b, RopeMode.NEOX), embed(b)
    for il in range(b.hp.n_layer):
        normed = layer_norm(b, x, f"blk.{il}.attn_norm")
        second = f"blk.{il}.attn_norm_2"
        seen = layer_norm(b, x, second) if b.has(f"{second}.weight") else normed
        x = b.g.add(x, b.g.add(attend(b, seen, il), mlp(b, normed, il)))
    return head(b, x, layer_norm)
