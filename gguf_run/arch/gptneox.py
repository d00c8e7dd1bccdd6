"""GPT-NeoX and Pythia (arXiv:2204.06745, arXiv:2304.01373): partial RoPE, attention and
feed-forward side by side, each of its own norm, or one after the other."""

from __future__ import annotations

from gguf_run.arch.attention import roped
from gguf_run.arch.blocks import embed, head, layer_norm, mlp
from gguf_run.arch.builder import Builder
from gguf_run.arch.layers import pre_norm
from gguf_run.arch.registry import architecture
from gguf_run.graph import RopeMode, Tensor


@architecture("gptneox")
def gptneox(b: Builder) -> Tensor:
    attend, x = roped(b, RopeMode.NEOX), embed(b)
    if not b.hp.keys.flag("use_parallel_residual", True):
        return head(b, pre_norm(b, x, attend, mlp, norm=layer_norm), layer_norm)
    for il in range(b.hp.n_layer):
        attended = attend(b, layer_norm(b, x, f"blk.{il}.attn_norm"), il)
        x = b.g.add(b.g.add(x, mlp(b, layer_norm(b, x, f"blk.{il}.ffn_norm"), il)), attended)
    return head(b, x, layer_norm)
